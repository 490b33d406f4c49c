// Plans as CUDA graphs under the emulator: the same numbers as kernel by kernel, also after scratch memory has moved.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { add, attention, keep, linear, log, randomNormal, scope, silu } from '@darkroom/core';
import { planGraph, recordGraph, Replay } from '@darkroom/core/graph';
import type { Device, Tensor } from '@darkroom/core';
import type { CudaBackend } from './backend.ts';
import { CapturedLaunches } from './capture.ts';
import { FaultLog } from './fault-log.ts';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

describe.skipIf(emulatorIsMissing())('cuda graphs', () => {
  let device: Device;
  beforeAll(async () => {
    device = await cuda({ emulator: true, cache: false });
  });
  afterAll(() => {
    expect(device.memory().live).toBe(0);
    device[Symbol.dispose]();
  });

  const body = (x: Tensor, w: Tensor): Tensor => {
    const h = silu(linear(x, w));
    const heads = h.view([1, 2, 32, 8]);
    return add(attention(heads, heads, heads).view([32, 16]), x);
  };

  test('a plan is captured once and launched as one; weights and inputs may change', async () => {
    const backend = device.backend as CudaBackend;
    const w = keep(randomNormal([16, 16], { seed: 1, device }));
    const inputs = [1, 2, 3, 4].map((seed) => keep(randomNormal([32, 16], { seed, device })));
    const params = new Map([['w', w]]);
    const { graph, constants } = recordGraph(
      ({ x }) => body(x!, params.get('w')!),
      { x: inputs[0]! },
      params,
    );
    using replay = new Replay(planGraph(graph, { device, params, constants }), device);
    replay.bind(new Map([...params, ...constants]));
    const launches: number[] = [];
    for (const x of inputs) {
      replay.set('x', x);
      const before = backend.counters.launches;
      replay.run();
      launches.push(backend.counters.launches - before);
      using got = replay.output(replay.plan.outputs[0]!);
      using want = scope(() => body(x, w));
      expect(await got.data()).toEqual(await want.data());
    }
    // Kernel by kernel, then captured (which counts them once more), then as one.
    expect(launches[0]).toBe(replay.plan.launches.length);
    expect(launches[1]).toBe(replay.plan.launches.length);
    expect(launches.slice(2)).toEqual([0, 0]);

    for (const t of [w, ...inputs, ...constants.values()]) t.dispose();
  });

  test('what cannot be captured runs kernel by kernel, and says so', () => {
    const calls: string[] = [];
    const driver = {
      captureBegin: () => void calls.push('begin'),
      captureEnd: () => {
        throw Object.assign(new Error('invalidated'), { library: 'libcuda', code: 901 });
      },
    };
    const warn = log.warn;
    const warnings: string[] = [];
    log.warn = (message) => void warnings.push(message);
    const faults = new FaultLog();
    const captured = new CapturedLaunches({
      driver: driver as never,
      stream: 0,
      enqueue: () => void calls.push('kernels'),
      scratch: () => 0,
      faults,
    });
    for (let i = 0; i < 3; i++) captured.run();
    log.warn = warn;
    // The kernels that were captured in vain run after all.
    expect(calls).toEqual(['kernels', 'begin', 'kernels', 'kernels', 'kernels']);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('running the kernels one by one');
    expect(faults.list).toEqual([
      { kind: 'capture-failed', op: 'graph', message: 'cuda: graph capture: invalidated' },
    ]);
  });
});
