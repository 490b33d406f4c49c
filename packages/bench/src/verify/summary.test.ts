// The tables of a full-size run, from a report made up of round numbers: rows, floors, ratios, and that they stay short.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { features } from './image.ts';
import type { Spread, StageRecord, VerifyReport } from './records.ts';
import { summary } from './summary.ts';

const folder = join(fileURLToPath(new URL('.', import.meta.url)), '../../torch');
const spread = (median: number): Spread => ({ median, p5: median, p95: median, samples: [median] });
const modes = ['float16', 'tf32', 'float32'];

const timing = (work: 'unet' | 'vae' | 'text' | 'image', mode: string, ms: number): StageRecord => ({
  kind: 'timing',
  work,
  mode,
  clock: 'device',
  ms: spread(ms),
  peakBytes: 2 ** 30,
  tuned: { keys: 3, seconds: 1 },
  stepMs: spread(ms / 50),
});
const row = (section: 'unet' | 'vae' | 'text', run: 'eager' | 'graph', ms: number, cudnnBenchmark = false) =>
  ({ section, mode: 'float16', run, cudnnBenchmark, ms: spread(ms) }) as const;

const records: StageRecord[] = [
  { kind: 'check', name: 'conformance', passed: 318, unsupported: 6, failures: [] },
  {
    kind: 'rate',
    name: 'matmul',
    mode: 'float16',
    shape: [8192, 8192, 8192],
    perSecond: 400e12,
    ms: spread(1),
  },
  { kind: 'rate', name: 'copy', mode: 'driver', shape: [1], perSecond: 3e12, ms: spread(1) },
  ...modes.flatMap((mode) =>
    (['unet', 'vae', 'text', 'image'] as const).map((work) => timing(work, mode, 10)),
  ),
  ...features.map((feature, i) => timing('image', feature.name, 10_000 / (i + 1))),
  {
    kind: 'kernels',
    work: 'unet',
    mode: 'float16',
    kernels: [
      { label: 'conv2d/a', calls: 98, ms: 4 },
      { label: 'matmul/b', calls: 184, ms: 4 },
    ],
  },
  {
    kind: 'torch',
    report: {
      torch: '2',
      cuda: '13',
      cudnn: 9,
      rates: [{ name: 'matmul', mode: 'float16', perSecond: 800e12, ms: spread(1) }],
      rows: [row('unet', 'eager', 30), row('unet', 'eager', 20, true), row('unet', 'graph', 15)],
      groups: [{ section: 'unet', mode: 'float16', group: 'conv2d', ms: spread(8) }],
      failures: ['vae float32 graph: out of memory'],
    },
  },
];
const report: VerifyReport = {
  kind: 'verify',
  environment: {
    date: 'today',
    node: 'v0',
    cpu: 'c',
    cores: 1,
    commit: 'abc',
    command: 'verify',
    device: 'a GPU',
  },
  size: 'full',
  budgetSeconds: 500,
  stages: [
    { name: 'all', status: 'passed', seconds: 1, records },
    { name: 'ops', status: 'not run', message: '3 s of 500 s were left', seconds: 0, records: [] },
  ],
};

test('a full-size table has floors from the best rates, efficiency, and the ratio to the best of torch', () => {
  const text = summary(report, folder);
  const cells = (start: string): string[] =>
    text
      .split('\n')
      .find((line) => line.startsWith(start))!
      .trim()
      .split(/ {2,}/);
  // torch's product is the faster one here, so the floor is the one at 800 TFLOP/s.
  expect(cells('unet float16')).toEqual(
    ['unet float16', '10.00', '10.00-10.00', '1024', '160.7', '2.25', '0.23', '20.00', '15.00', '2.00', '1.50'], // prettier-ignore
  );
  // No rate is known for tf32: no floor, and no torch to compare with.
  expect(cells('unet tf32')).toEqual(['unet tf32', '10.00', '10.00-10.00', '1024', '160.7']);
  expect(cells('+ memory-efficient attention').at(-1)).toBe('7.00');
  const conv = cells('unet conv2d');
  expect([conv[1], conv[2], conv[3], conv.at(-1)]).toEqual(['98', '4.000', '0.50', '2.00']);
  expect(text).toContain('vae float32 graph: out of memory');
  expect(cells('ops')).toEqual(['ops', 'not run', '3 s of 500 s were left']);
  expect(text.length).toBeLessThan(12_000);
});
