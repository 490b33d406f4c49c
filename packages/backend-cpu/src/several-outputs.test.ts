// An op with two outputs, from outside: eager, recorded, saved, planned and replayed, with a kernel and without.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { argmax, max, Module, parseTraced, scope, tensor, trace, add, cast } from '@darkroom/core';
import { dispatchAll, integer, layoutOf, registerOp } from '@darkroom/core/backend';
import { printGraph, printPlan, recordGraph, runGraph, serializeGraph, parseGraph } from '@darkroom/core/graph'; // prettier-ignore
import type { Device, Tensor } from '@darkroom/core';
import type { OpDefinition, Spec } from '@darkroom/core/backend';
import { choosing } from '@darkroom/core/testing';
import { cpu, registerCpuKernels } from './index.ts';

/** The largest of each row of x [n, d], and where the first of them stands: float [n] and int32 [n]. */
interface TopOp {
  readonly kind: 'top';
  readonly axis: number;
}

const top: OpDefinition<TopOp, readonly Spec[]> = {
  kind: 'top',
  inputs: [1, 1],
  attributes: { axis: integer(1, 1) },
  infer(_, [x]) {
    const layout = layoutOf([x!.layout.shape[0]!]);
    return [
      { dtype: x!.dtype, layout },
      { dtype: 'int32', layout },
    ];
  },
  cost: () => ({ flops: 0, bytes: 0 }),
  tolerance: () => ({ atol: 0, rtol: 0 }),
  decompose: (_, [x]) => [max(x!, { axes: [1] }), argmax(x!, 1)],
};

const topOf = (x: Tensor): readonly Tensor[] => dispatchAll(top, { kind: 'top', axis: 1 }, [x]);

let fast: Device;
beforeAll(async () => {
  registerOp(top);
  registerCpuKernels<TopOp>('top', {
    reference(_, [x, values, places]) {
      const [n, d] = x!.shape as [number, number];
      for (let row = 0; row < n; row++) {
        let best = 0;
        const at = (i: number): number => x!.get(row * x!.strides[0]! + i * x!.strides[1]!);
        for (let i = 1; i < d; i++) if (at(i) > at(best)) best = i;
        values!.set(row, at(best));
        places!.set(row, best);
      }
    },
  });
  fast = await cpu({ threads: 1 });
});
afterAll(() => fast[Symbol.dispose]());

const rows = [3, 9, 1, 7, 7, 2];
const values = async (tensors: readonly Tensor[]): Promise<number[][]> =>
  Promise.all(tensors.map(async (t) => [...(await t.data())]));

/** Reads both outputs, and neither in the order in which they come. */
class Top extends Module<[x: Tensor], Record<string, Tensor>> {
  override forward(x: Tensor): Record<string, Tensor> {
    return scope(() => {
      const [value, place] = topOf(add(x, x));
      return { place: place!, both: add(cast(place!, 'float32'), value!) };
    });
  }
}

describe.each(['a kernel', 'a decomposition'])('with %s', (how) => {
  let device: Device;
  beforeAll(() => {
    device = how === 'a kernel' ? fast : choosing(fast, (choices, op) => (op.kind === 'top' ? [] : choices));
  });

  test('eager gives both', async () => {
    const x = tensor(rows, { shape: [2, 3], device });
    const outputs = topOf(x);
    expect(outputs.map(String)).toEqual(['float32[2]', 'int32[2]']);
    expect(await values(outputs)).toEqual([
      [9, 7],
      [1, 0],
    ]);
    for (const t of [x, ...outputs]) t.dispose();
  });

  test('a trace is planned, saved, read and replayed', async () => {
    const x = tensor(rows, { shape: [2, 3], device });
    const traced = await trace(new Top(), [x]);
    const loaded = await parseTraced<[Tensor], Record<string, Tensor>>(await traced.serialize(), 'a.json', {
      device,
      params: new Map(),
    });
    for (const module of [traced, loaded]) {
      const { place, both } = module.call(x);
      expect(await values([place!, both!])).toEqual([
        [1, 0],
        [19, 14],
      ]);
    }
    const kinds = loaded.plans[0]!.launches.map(({ op }) => op.kind);
    expect(kinds).toEqual(how === 'a kernel' ? ['map', 'top', 'map'] : ['map', 'reduce', 'reduce', 'map']);
    if (how === 'a kernel')
      expect(printPlan(loaded.plans[0]!)).toMatch(/^f32\[2\]@\d+, i32\[2\] output = top\/reference/m);
  });
});

test('a graph has a node for each output, and a file says which', async () => {
  const { graph } = recordGraph(
    ({ x }) => {
      const [value, place] = topOf(x!);
      return { value: value!, place: place! };
    },
    { x: tensor(rows, { shape: [2, 3], device: fast }) },
  );
  expect(printGraph(graph).split('\n').slice(1)).toEqual([
    '%1: f32[2] = top(%0) axis=1',
    '%2: i32[2] = result(%1) index=1',
    'outputs value: %1, place: %2',
  ]);
  const text = serializeGraph(graph);
  expect(parseGraph(text, 'a.json')).toEqual(graph);
  const x = tensor(rows, { shape: [2, 3], device: fast });
  const { place } = runGraph(graph, { x }, { device: fast });
  expect([...(await place!.data())]).toEqual([1, 0]);
  expect(() => parseGraph(text.replace('"index":1', '"index":2'), 'a.json')).toThrow(
    'a.json: node 1 (result) reads output 2 of 2',
  );
});

test('an op of several outputs takes no out', () => {
  const x = tensor(rows, { shape: [2, 3], device: fast });
  const out = tensor([0, 0], { device: fast });
  expect(() => dispatchAll(top, { kind: 'top', axis: 1 }, [x], { out })).toThrow(
    'top: has 2 outputs, so it takes no out',
  );
});
