// The reference cases of fixtures/ pass on the fast kernels and on the oracle; the runner can fail.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { memoryFiles } from '@darkroom/diffusers';
import { localFiles, root } from '@darkroom/diffusers/testing';
import { mul, tensor } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { callTraced } from './call.ts';
import { mismatch } from './compare.ts';
import { runConformance } from './run.ts';

const folder = join(root, 'fixtures/goldens');

test('every case of the fixtures passes', async () => {
  const device = await cpu({ threads: 2 });
  const failures: string[] = [];
  const report = await runConformance({
    device,
    files: localFiles(folder),
    onFailure: (id, why) => void failures.push(`${id}: ${why}`),
  });
  expect(failures).toEqual([]);
  expect(report).toEqual({ passed: 123, failed: 0, unsupported: 0 });
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

test('traced, every case passes too, and without passes has the bits of eager', async () => {
  const device = await cpu({ threads: 2 });
  const failures: string[] = [];
  const report = await runConformance({
    device,
    files: localFiles(folder),
    traced: true,
    onFailure: (id, why) => void failures.push(`${id}: ${why}`),
  });
  expect(failures).toEqual([]);
  expect(report).toEqual({ passed: 123, failed: 0, unsupported: 0 });
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

test('a trace that differs from what was called fails', async () => {
  const device = await cpu({ threads: 1 });
  const x = tensor([1, 2, 3], { device });
  let calls = 0;
  const changing = { call: (t: Tensor) => ({ y: mul(t, ++calls) }) };
  await expect(callTraced(device)(changing, x)).rejects.toThrow(
    'traced differs from eager: y at element 0: 2, not 1',
  );
  x.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

test('the op cases pass on the reference kernels too', async () => {
  const device = await cpu({ threads: 1, kernels: 'reference' });
  const report = await runConformance({ device, files: localFiles(folder), filter: 'op/' });
  expect(report.failed).toBe(0);
  expect(report.passed).toBeGreaterThan(70);
  device[Symbol.dispose]();
});

/** The fixtures with an edited manifest. */
function edited(
  edit: (cases: Record<string, unknown>[]) => Record<string, unknown>[],
): ReturnType<typeof memoryFiles> {
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    cases: Record<string, unknown>[];
  };
  return memoryFiles({
    'manifest.json': JSON.stringify({ ...manifest, cases: edit(manifest.cases) }),
    'cases.safetensors': new Uint8Array(readFileSync(join(folder, 'cases.safetensors'))),
  });
}

test('a wrong reference, an unknown kind, an unknown op and a missing tensor fail; other pipelines are unsupported', async () => {
  const device = await cpu({ threads: 1 });
  const reasons: string[] = [];
  const files = edited((cases) => {
    const silu = cases.find((c) => c['id'] === 'op/silu/n3')!;
    const other = cases.find((c) => c['id'] === 'op/gelu_erf/n3')!;
    return [
      { ...silu, id: 'wrong', outputs: other['outputs'] },
      { ...silu, id: 'kind', kind: 'video' },
      { ...silu, id: 'op', op: 'fft' },
      { ...silu, id: 'key', inputs: { x: { key: 'none', shape: [3], dtype: 'F32' } } },
      { id: 'pipe', kind: 'pipeline', file: 'x', params: { pipeline: 'StableDiffusionVideoPipeline' } },
      silu,
    ];
  });
  const report = await runConformance({
    device,
    files,
    onFailure: (id, why) => void reasons.push(`${id}: ${why}`),
  });
  expect(report).toEqual({ passed: 1, failed: 4, unsupported: 1 });
  expect(reasons.join('\n')).toMatch(
    /wrong: y: element \d[\s\S]*kind: case kind 'video'[\s\S]*op: op 'fft'[\s\S]*key: .*'none'/,
  );
  device[Symbol.dispose]();
});

test('NaN never passes', () => {
  const t = { atol: 1, rtol: 1 };
  expect(mismatch([NaN], [0], t)).toContain('element 0 is NaN');
  expect(mismatch([0], [NaN], t)).toContain('element 0');
  expect(mismatch([NaN], [NaN], t)).toBeUndefined();
  expect(mismatch([Infinity], [1], t)).toContain('Infinity');
  expect(mismatch([1], [Infinity], t)).toContain('Infinity');
  expect(mismatch([1], [1, 2], t)).toContain('1 values where the reference has 2');
});
