// The engine without shared memory, as in a page without cross-origin isolation: its memory's views end when it grows.

import { afterEach, expect, test, vi } from 'vitest';
import { full, matmul } from '@darkroom/core';
import { cpu } from '../backend.ts';

afterEach(() => vi.unstubAllGlobals());

test('kernels run before and after memory that is not shared has grown', async () => {
  vi.stubGlobal('SharedArrayBuffer', undefined);
  const device = await cpu({ threads: 4 });
  expect(device.caps.fingerprint).toContain('1 thread');
  for (const size of [64, 512, 1024]) {
    const a = full([size, size], 2, { device });
    const b = full([size, size], 3, { device });
    const product = matmul(a, b);
    expect([...new Set((await product.data()) as Float32Array)]).toEqual([6 * size]);
    for (const t of [a, b, product]) t.dispose();
  }
  device[Symbol.dispose]();
});
