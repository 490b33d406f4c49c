import { describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { Linear, trace } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { randomTensor } from '../random-weights.ts';
import { byLabel, timedLaunches } from './in-graph.ts';

function linear(device: Device, inFeatures: number, outFeatures: number): Linear {
  const layer = new Linear(inFeatures, outFeatures);
  layer.weight = randomTensor([outFeatures, inFeatures], device, 'float32');
  layer.bias = randomTensor([outFeatures], device, 'float32');
  return layer;
}

describe('timedLaunches', () => {
  test('times every launch of a trace that runs at each call, and leaves the trace as it was', async () => {
    await using device = await cpu({ threads: 1 });
    const layer = linear(device, 16, 32);
    const x = randomTensor([4, 16], device, 'float32');
    const traced = await trace(layer, [x]);
    const before = await traced.call(x).data();
    const timed = await timedLaunches(
      device,
      traced.plans[0]!,
      { run: () => traced.call(x).dispose(), release: () => traced.release() },
      2,
    );
    const { from, to } = traced.plans[0]!.segments.at(-1)!;
    expect(timed).toHaveLength(to - from);
    for (const { label, ms } of timed) {
      expect(label).toMatch(/^\w+\/\S+ 4,16 /);
      expect(ms).toBeGreaterThan(0);
    }
    expect(await traced.call(x).data()).toEqual(before);
  });

  test('a backend without graphs is an error that names it', async () => {
    await using device = await cpu({ threads: 1 });
    const layer = linear(device, 4, 4);
    const x = randomTensor([1, 4], device, 'float32');
    const traced = await trace(layer, [x]);
    const run = (): void => traced.call(x).dispose();
    const bare = { ...device, backend: { name: 'bare' } } as unknown as typeof device;
    await expect(
      timedLaunches(bare, traced.plans[0]!, { run, release: () => traced.release() }),
    ).rejects.toThrow('in-graph times: bare makes no graphs of launches');
  });
});

test('launches of one label are one line, the longest first', () => {
  const timed = [
    { label: 'a 1', ms: 1 },
    { label: 'b 2', ms: 5 },
    { label: 'a 1', ms: 2 },
  ];
  expect(byLabel(timed)).toEqual([
    { label: 'b 2', calls: 1, ms: 5 },
    { label: 'a 1', calls: 2, ms: 3 },
  ]);
});
