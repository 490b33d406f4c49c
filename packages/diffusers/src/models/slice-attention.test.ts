// Attention sliced by the pass, on every backend: the bits of the whole one, and scores within the limit.

import {
  attention,
  map,
  optimize,
  passes,
  planGraph,
  recordGraph,
  runGraph,
  Scope,
  sliceAttention,
} from '@darkroom/core';
import type { Device, Graph, Tensor } from '@darkroom/core';
import { firstMismatch } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const devices: readonly { name: string; missing: boolean; open: () => Promise<Device> }[] = [
  { name: 'cpu', missing: false, open: () => cpu({ threads: 2 }) },
  { name: 'webgpu', missing: await adapterIsMissing(), open: () => webgpu() },
  { name: 'cuda', missing: emulatorIsMissing(), open: () => cuda({ emulator: true, cache: false }) },
];

const size = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const cases = fc.record({
  b: size(3),
  heads: size(4),
  l: size(20),
  s: size(20),
  d: fc.constantFrom(4, 8, 16),
  mask: fc.constantFrom('none', 'causal', 'rows', 'whole'),
  merged: fc.boolean(),
  rows: size(60),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

function graphOf(
  { b, heads, l, s, d, mask, merged }: Case,
  device: Device,
): { graph: Graph; inputs: Record<string, Tensor> } {
  const values = (shape: readonly number[], seed: number): Tensor =>
    map(
      [
        'sub',
        [
          'mul',
          ['abs', ['sub', ['index', shape.length - 1], ['mul', 0.37, ['index', shape.length - 2]]]],
          seed,
        ],
        0.6,
      ],
      [],
      {
        shape,
        device,
      },
    );
  // As models have them: heads as a view of [b, tokens, heads, d], or on their own.
  const split = (t: Tensor): Tensor => (merged ? t.permute(0, 2, 1, 3) : t);
  const shape = (n: number): number[] => (merged ? [b, n, heads, d] : [b, heads, n, d]);
  const inputs: Record<string, Tensor> = {
    q: values(shape(l), 0.11),
    k: values(shape(s), 0.07),
    v: values(shape(s), 0.19),
  };
  if (mask === 'rows') inputs['mask'] = values([l, s], 0.3);
  if (mask === 'whole') inputs['mask'] = values([b, 1, l, s], 0.2);
  const { graph } = recordGraph(
    (x) =>
      attention(split(x['q']!), split(x['k']!), split(x['v']!), {
        causal: mask === 'causal',
        mask: x['mask'],
      }),
    inputs,
  );
  return { graph, inputs };
}

describe.each(devices)('sliceAttention on $name', ({ name, missing, open }) => {
  describe.skipIf(missing)('', () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => device[Symbol.dispose]());

    test('every bit of the whole one, and no piece above the limit', { timeout: 300_000 }, async () => {
      let sliced = 0;
      await fc.assert(
        fc.asyncProperty(cases, async (c) => {
          using memory = new Scope();
          const { graph, inputs } = memory.run(() => graphOf(c, device));
          const limit = 4 * c.s * c.rows;
          const after = sliceAttention({ maxScoreBytes: limit }).run(graph);
          const pieces = after.nodes.filter((n) => n.op.kind === 'attention');
          if (pieces.length > 1) sliced++;
          const least = c.mask === 'causal' ? c.l : 1;
          for (const { shape } of pieces) {
            const rows = shape[0]! * shape[1]! * shape[2]!;
            expect(rows).toBeLessThanOrEqual(Math.max(c.rows, least));
          }
          const run = (g: Graph): Tensor =>
            memory.run(
              () => runGraph(g, inputs, { params: new Map(), constants: new Map(), device })['output']!,
            );
          const [want, got] = [await run(graph).data(), await run(after).data()];
          expect(firstMismatch(got, want, { atol: 0, rtol: 0 })).toBe(-1);
          memory.run(() =>
            planGraph(optimize(after, [...passes]), { device, params: new Map(), constants: new Map() }),
          );
        }),
        { numRuns: name === 'cpu' ? 200 : 30 },
      );
      expect(sliced).toBeGreaterThan(10);
    });
  });
});
