// Random graphs planned for WebGPU, with buffers instead of offsets: the bits of running op by op, with and without passes.

import { optimize, planGraph, Replay, runGraph, Scope } from '@darkroom/core';
import type { Device, Graph } from '@darkroom/core';
import { buildGraph, firstMismatch, fusedOnGpuTolerance, graphArbitrary } from '@darkroom/core/testing';
import type { RandomGraph } from '@darkroom/core/testing';
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
    ['as recorded', false],
    ['optimised', true],
  ])('%s', { timeout: 300_000 }, async (_, optimised) => {
    const before = device.memory().live;
    await fc.assert(
      fc.asyncProperty(graphArbitrary(fc, { casts: false }), async (program) => {
        using memory = new Scope();
        const given = memory.run(() => buildGraph(program, device));
        const want = await read(memory.run(() => runGraph(given.graph, given.inputs, { ...given, device })));
        const got = await replayed(optimised ? optimize(given.graph) : given.graph, given);
        const tolerance = optimised ? fusedOnGpuTolerance : { atol: 0, rtol: 0 };
        for (const name of Object.keys(want))
          expect(firstMismatch(got[name]!, want[name]!, tolerance)).toBe(-1);
      }),
      { numRuns: 60 },
    );
    expect(device.memory().live).toBe(before);
  });
});
