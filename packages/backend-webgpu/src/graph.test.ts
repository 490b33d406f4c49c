// Random graphs planned for WebGPU, with buffers instead of offsets: the bits of running op by op, with and without passes.

import { Scope } from '@darkroom/core';
import {
  channelsLast,
  eliminateDead,
  fuseSharedMatmuls,
  optimize,
  outputsAdjacent,
  passes,
  planGraph,
  Replay,
  runGraph,
  sliceAttention,
  winograd,
} from '@darkroom/core/graph';
import type { Device } from '@darkroom/core';
import type { Graph } from '@darkroom/core/graph';
import {
  attentionArbitrary,
  buildAttention,
  buildGraph,
  firstMismatch,
  fusedOnGpuTolerance,
  graphArbitrary,
  runPlanned,
} from '@darkroom/core/testing';
import type { AttentionProgram, RandomGraph } from '@darkroom/core/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { webgpu } from './index.ts';
import { adapterIsMissing } from './node/testing.ts';

const missing = await adapterIsMissing();

describe.skipIf(missing)('webgpu plans', () => {
  let device: Device;
  beforeAll(async () => {
    device = await webgpu();
  });
  afterAll(() => device?.[Symbol.dispose]());

  async function replayed(graph: Graph, given: RandomGraph): Promise<Record<string, ArrayLike<number>>> {
    const { inputs, params, constants } = given;
    const plan = planGraph(graph, { device, params, constants });
    using replay = new Replay(plan, device);
    replay.bind(new Map([...params, ...constants]));
    for (const { name } of plan.inputs) replay.set(name, inputs[name]!);
    replay.run();
    using memory = new Scope();
    return read(
      memory.run(() => Object.fromEntries(plan.outputs.map((port) => [port.name, replay.output(port)]))),
    );
  }

  async function read(tensors: RandomGraph['inputs']): Promise<Record<string, ArrayLike<number>>> {
    const entries = Object.entries(tensors).map(async ([name, t]) => [name, await t.data()] as const);
    return Object.fromEntries(await Promise.all(entries));
  }

  test.each([
    ['as recorded', []],
    // As passesFor(caps) has them, but whatever the sizes are.
    [
      'optimised',
      [
        channelsLast,
        ...passes,
        winograd({ leastChannels: 1, leastTiles: 1 }),
        outputsAdjacent,
        eliminateDead,
      ],
    ],
  ] as const)('%s', async (_, list) => {
    const before = device.memory().live;
    await fc.assert(
      fc.asyncProperty(graphArbitrary(fc, { casts: false }), async (program) => {
        using memory = new Scope();
        const given = memory.run(() => buildGraph(program, device));
        const want = await read(memory.run(() => runGraph(given.graph, given.inputs, { ...given, device })));
        const got = await replayed(optimize(given.graph, list), given);
        const tolerance = list.length > 0 ? fusedOnGpuTolerance : { atol: 0, rtol: 0 };
        for (const name of Object.keys(want))
          expect(firstMismatch(got[name]!, want[name]!, tolerance)).toBe(-1);
      }),
      { numRuns: 30 },
    );
    expect(device.memory().live).toBe(before);
  });

  test.each([
    // One kernel a head and row, whatever there is beside it.
    ['sliceAttention', (p: AttentionProgram) => [sliceAttention(p)], { atol: 0, rtol: 0 }],
    ['fuseSharedMatmuls', () => [fuseSharedMatmuls], fusedOnGpuTolerance],
    ['channelsLast', () => [channelsLast], fusedOnGpuTolerance],
    ['all and sliceAttention', (p: AttentionProgram) => [...passes, sliceAttention(p)], fusedOnGpuTolerance],
  ] as const)('%s on attention of odd sizes', async (_, list, tolerance) => {
    const before = device.memory().live;
    await fc.assert(
      fc.asyncProperty(attentionArbitrary(fc, ['float32']), async (program) => {
        using memory = new Scope();
        const given = memory.run(() => buildAttention(program, device));
        const want = await runPlanned(given.graph, given, device);
        const got = await runPlanned(optimize(given.graph, list(program)), given, device);
        for (const name of Object.keys(want))
          expect(firstMismatch(got[name]!, want[name]!, tolerance)).toBe(-1);
      }),
      { numRuns: 15 },
    );
    expect(device.memory().live).toBe(before);
  });
});
