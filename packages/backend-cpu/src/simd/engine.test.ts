// The engine without shared memory, as in a page without cross-origin isolation: its memory's views end when it grows; and
// its workers' meetings.

import { afterEach, expect, test, vi } from 'vitest';
import { full, matmul } from '@darkroom/core';
import { cpu } from '../backend.ts';
import { Engine } from './engine.ts';
import { control } from './threads.ts';

afterEach(() => vi.unstubAllGlobals());

test('a worker that is woken without a new run does nothing', async () => {
  const engine = await Engine.create({ threads: 2 });
  const nothing = engine.code(
    'nothing',
    (module) => void module.add(['i32', 'i32', 'i32'], () => {}, 'tile'),
  );
  const words = new Int32Array(engine.memory.buffer, 0, 16);
  /** Wakes the worker as soon as it sleeps, as a caller does that was held up before its notify. */
  const wake = async (): Promise<void> => {
    while (Atomics.notify(words, control.epoch) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  for (let i = 0; i < 3; i++) {
    engine.run(nothing, [], 4, 1e9);
    await wake();
    const before = [...words];
    await wake(); // it sleeps again
    expect([...words]).toEqual(before);
  }
  engine.dispose();
});

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
