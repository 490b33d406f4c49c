// Passes and plans on the CPU: optimised graphs give the bits of the recorded ones, and plans those of op by op.

import { add, matmul, scope, Scope, silu, tensor, trace } from '@darkroom/core';
import {
  channelsLast,
  fuseSharedMatmuls,
  liftScalars,
  optimize,
  outputsAdjacent,
  passes,
  planGraph,
  Replay,
  runGraph,
  sliceAttention,
  winograd,
} from '@darkroom/core/graph';
import type { Device, Tensor } from '@darkroom/core';
import type { Graph, Pass } from '@darkroom/core/graph';
import {
  attentionArbitrary,
  buildAttention,
  buildGraph,
  buildInput,
  firstMismatch,
  fusedOnGpuTolerance,
  graphArbitrary,
  runPlanned,
} from '@darkroom/core/testing';
import type { AttentionProgram, RandomGraph } from '@darkroom/core/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from './backend.ts';

let device: Device;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
afterAll(() => device[Symbol.dispose]());

const numRuns = 400;

function outputs(graph: Graph, given: RandomGraph): Record<string, ArrayLike<number>> {
  const { inputs, params, constants } = given;
  const out = runGraph(graph, inputs, { params, constants, device });
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, t.dataSync()]));
}

/** Number of programs that the passes changed: a property of passes that never act would be empty. */
function checkSameBits(list: readonly Pass[], casts: boolean, tolerance = { atol: 0, rtol: 0 }): number {
  let acted = 0;
  fc.assert(
    fc.property(graphArbitrary(fc, { casts }), (program) => {
      using memory = new Scope();
      memory.run(() => {
        const given = buildGraph(program, device);
        const changed = optimize(given.graph, list);
        if (JSON.stringify(changed.nodes) !== JSON.stringify(given.graph.nodes)) acted++;
        const [want, got] = [outputs(given.graph, given), outputs(changed, given)];
        for (const name of Object.keys(want))
          expect(firstMismatch(got[name]!, want[name]!, tolerance)).toBe(-1);
      });
    }),
    { numRuns },
  );
  return acted;
}

test.each([...new Set(passes)].filter((p) => p.effect === 'exact').map((p) => [p.name, p] as const))(
  '%s changes no bit, of narrow values neither',
  (_, pass) => {
    expect(checkSameBits([pass], true)).toBeGreaterThan(numRuns / 20);
  },
);

test.each([...new Set(passes)].filter((p) => p.effect === 'rounding').map((p) => [p.name, p] as const))(
  '%s changes no bit of float32 here',
  (_, pass) => {
    expect(checkSameBits([pass], false)).toBeGreaterThan(numRuns / 30);
  },
);

test('fuseSharedMatmuls changes no bit here, of narrow values neither', () => {
  expect(checkSameBits([fuseSharedMatmuls], true)).toBeGreaterThan(numRuns / 30);
});

test('channelsLast: the same up to the order of sums', () => {
  expect(checkSameBits([channelsLast], false, fusedOnGpuTolerance)).toBeGreaterThan(numRuns / 10);
});

test('winograd: the same up to its rounding', () => {
  const list = [winograd({ leastChannels: 1, leastTiles: 1 }), outputsAdjacent];
  expect(checkSameBits(list, false, fusedOnGpuTolerance)).toBeGreaterThan(numRuns / 10);
});

test.each([
  ['fuseSharedMatmuls', () => [fuseSharedMatmuls]],
  ['sliceAttention', (p: AttentionProgram) => [sliceAttention(p)]],
  ['all and sliceAttention', (p: AttentionProgram) => [...passes, sliceAttention(p)]],
] as const)('%s on attention of odd sizes: planned, the bits of the recorded graph', async (name, list) => {
  let acted = 0;
  const before = device.memory().live;
  const dtypes = name.startsWith('all') ? (['float32'] as const) : undefined; // others round in another place
  await fc.assert(
    fc.asyncProperty(attentionArbitrary(fc, dtypes), async (program) => {
      using memory = new Scope();
      const given = memory.run(() => buildAttention(program, device));
      const changed = optimize(given.graph, list(program));
      if (changed.nodes.length !== given.graph.nodes.length) acted++;
      const want = memory.run(() => outputs(given.graph, given));
      expect(await runPlanned(changed, given, device)).toEqual(want);
    }),
    { numRuns },
  );
  expect(acted).toBeGreaterThan(numRuns / 4);
  expect(device.memory().live).toBe(before);
});

test('all passes in their order change no bit of float32 here', () => {
  expect(checkSameBits(passes, false)).toBeGreaterThan(numRuns / 2);
});

test('numbers as an input change no bit, of narrow values neither', () => {
  let acted = 0;
  fc.assert(
    fc.property(graphArbitrary(fc, { casts: true }), (program) => {
      using memory = new Scope();
      memory.run(() => {
        const given = buildGraph(program, device);
        const merged = optimize(given.graph, passes); // longer expressions, more numbers
        const { graph, numbers } = liftScalars(merged);
        if (numbers.length > 0) acted++;
        const inputs = { ...given.inputs, ...(numbers.length > 0 && { numbers: tensor([...numbers], { device }) }) };
        expect(outputs(graph, { ...given, inputs })).toEqual(outputs(merged, given));
      });
    }),
    { numRuns },
  );
  expect(acted).toBeGreaterThan(numRuns / 3);
}); // prettier-ignore

/**
 * Runs of one plan on other inputs, the last with one changed: what is kept from run to run must be what would be
 * computed.
 */
function replayed(
  graph: Graph,
  given: RandomGraph,
  suballocate: boolean,
): Record<string, ArrayLike<number>>[] {
  const { params, constants } = given;
  const plan = planGraph(graph, { params, constants, device }, { suballocate });
  const weights = new Map([...params, ...constants]);
  using replay = new Replay(plan, device);
  replay.bind(weights);
  return calls(given).map(({ inputs }) => {
    for (const { name } of plan.inputs) replay.set(name, inputs[name]!);
    replay.run();
    return Object.fromEntries(plan.outputs.map((port) => [port.name, replay.output(port).dataSync()]));
  });
}

const calls = (given: RandomGraph): RandomGraph[] => {
  const { x, y, row, scale } = given.inputs as Record<'x' | 'y' | 'row' | 'scale', Tensor>;
  return [
    { x: y, y: x, row, scale },
    { x, y, row, scale },
    { x: y, y, row, scale },
  ].map((inputs) => ({
    ...given,
    inputs,
  }));
};

test.each([true, false])('a plan gives the bits of running op by op (suballocate %s)', (suballocate) => {
  const before = device.memory().live;
  fc.assert(
    fc.property(graphArbitrary(fc, { casts: true }), (program) => {
      using memory = new Scope();
      memory.run(() => {
        const given = buildGraph(program, device);
        const graph = optimize(given.graph);
        const got = replayed(graph, given, suballocate);
        for (const [i, want] of calls(given).entries())
          expect(got[i]).toEqual(outputs(graph, { ...want, graph }));
      });
    }),
    { numRuns },
  );
  expect(device.memory().live).toBe(before);
});

test('a timestep that was met before gives the same bits, from what was kept', async () => {
  using memory = new Scope();
  const random = (seed: number, ...shape: number[]): Tensor =>
    memory.run(() => buildInput({ shape }, seed, device));
  const [w, x, y] = [random(1, 16, 16), random(2, 4, 16), random(3, 4, 16)];
  const module = {
    device,
    stateDict: () => new Map([['w', w]]),
    call: (sample: Tensor, time: Tensor | number): Tensor =>
      scope(() => {
        const t = typeof time === 'number' ? tensor([time], { device }) : time;
        return add(matmul(sample, w), matmul(silu(matmul(t.expand([4, 16]), w)), w));
      }),
  };
  const live = device.memory().live;
  const traced = await trace(module, [x, 0]);
  const bits = (result: Tensor): ArrayLike<number> => {
    const values = result.dataSync();
    result.dispose();
    return values;
  };
  for (const time of [1, 0.5, 1, -0, 0, 1, 0.5])
    for (const sample of [x, y])
      expect(bits(traced.call(sample, time))).toEqual(bits(module.call(sample, time)));
  traced.dispose();
  expect(device.memory().live).toBe(live);
});
