// Cases of map, reduce and softmax.

import type { Expr } from '../../expr.ts';
import { activations } from '../../ops/pointwise.ts';
import type { KernelOp } from '../../ops/table.ts';
import type { KernelCase } from '../kernel-case.ts';
import { make } from './draw.ts';
import type { Arb, Draw } from './draw.ts';

const x: Expr = ['in', 0];
const y: Expr = ['in', 1];

/** Every scalar function at least once. `positive` ones are undefined below zero. */
export const mapExpressions: readonly { readonly expr: Expr; readonly positive?: boolean }[] = [
  { expr: ['add', x, y] },
  { expr: ['sub', ['mul', x, y], ['scalar', 0]] },
  { expr: ['div', x, ['add', 2, ['abs', y]]] },
  { expr: ['min', ['max', x, ['scalar', 1]], y] },
  { expr: ['exp', x] },
  { expr: ['log', x], positive: true },
  { expr: ['sqrt', ['add', x, y]], positive: true },
  { expr: ['rsqrt', ['add', x, 0.01]], positive: true },
  { expr: ['sin', ['mul', x, 3]] },
  { expr: ['cos', ['sub', x, y]] },
  { expr: ['tanh', x] },
  { expr: ['erf', x] },
  { expr: ['sigmoid', ['neg', x]] },
  { expr: ['floor', ['mul', x, 4]] },
  { expr: ['round', ['mul', x, 4]] },
  { expr: ['pow', x, y], positive: true },
  { expr: ['where', ['lt', x, y], x, ['neg', y]] },
  {
    expr: [
      'where',
      ['and', ['gt', x, 0], ['not', ['le', y, 0]]],
      1,
      ['where', ['or', ['eq', x, y], ['ge', x, 1]], 2, 3],
    ],
  },
  { expr: ['where', ['ne', x, 0], ['cast', 'float16', x], ['nan']] },
  { expr: ['add', ['mul', ['index', 0], 0.5], x] },
  { expr: activations.silu(x) },
  { expr: activations.gelu(x) },
  { expr: activations.geluTanh(x) },
  { expr: activations.quickGelu(['add', x, y]) },
  { expr: ['mul', x, activations.gelu(y)] },
  { expr: ['max', x, ['neg', ['inf']]] },
];

function map({ fc, float, shape, input }: Draw): Arb<KernelCase> {
  return fc
    .tuple(shape(4, 9), fc.integer({ min: 0, max: mapExpressions.length - 1 }))
    .chain(([dims, which]) => {
      const { expr, positive } = mapExpressions[which]!;
      const values = positive ? ('positive' as const) : ('normal' as const);
      return fc
        .tuple(
          input(dims, { values }),
          input(dims, { values }),
          fc.integer({ min: 0, max: dims.length }),
          float,
        )
        .map(([a, b, dropped, dtype]) => {
          // The second input may lack leading dimensions, or have size 1 in one: broadcasting.
          const thin =
            dropped < dims.length
              ? dims.map((d, i) => (i === dropped ? 1 : d))
              : dims.slice(dims.length > 1 ? 1 : 0);
          const second = { ...b, shape: thin };
          return make({ kind: 'map', expr, dtype, scalars: [0.75, -1.5] }, [a, second]);
        });
    });
}

function reduce({ fc, shape, input }: Draw): Arb<KernelCase> {
  return fc
    .tuple(shape(4, 8), fc.constantFrom('sum', 'max', 'min', 'argmax' as const), fc.boolean(), fc.nat())
    .chain(([dims, fn, keepDims, pick]) => {
      const all = dims.map((_, i) => i);
      const axes = fn === 'argmax' ? [pick % dims.length] : all.filter((i) => ((pick >> i) & 1) === 1);
      const chosen = axes.length === 0 ? all : axes;
      const extras =
        fn === 'sum' && pick % 3 === 0
          ? { pre: ['mul', ['in', 0], ['in', 0]] as Expr, post: ['mul', ['in', 0], 0.25] as Expr }
          : {};
      return input(dims).map((x) =>
        make({ kind: 'reduce', fn, axes: chosen, keepDims, ...extras } as KernelOp, [x]),
      );
    });
}

function softmax({ fc, shape, input }: Draw): Arb<KernelCase> {
  return fc
    .tuple(shape(4, 20), fc.nat())
    .chain(([dims, axis]) =>
      input(dims).map((x) => make({ kind: 'softmax', axis: axis % dims.length }, [x])),
    );
}

/** Random cases by kind. */
export function pointwiseArbitraries(
  draw: Draw,
): Readonly<Record<'map' | 'reduce' | 'softmax', Arb<KernelCase>>> {
  return {
    map: map(draw),
    reduce: reduce(draw),
    softmax: softmax(draw),
  };
}

/** Small enough for the oracle: sizes at which blocking and threads take part, and edges. */
export const pointwiseCases: readonly KernelCase[] = [
  { name: 'softmax 1000', op: { kind: 'softmax', axis: 1 }, inputs: [{ shape: [70, 1001] }] },
  { name: 'map long row', op: { kind: 'map', expr: activations.gelu(['in', 0]), dtype: 'float32' }, inputs: [{ shape: [70003] }] },
  { name: 'map in large workgroups', op: { kind: 'map', expr: activations.silu(['in', 0]), dtype: 'float16' }, inputs: [{ shape: [530000], dtype: 'float16' }] },
  { name: 'map empty', op: { kind: 'map', expr: ['neg', ['in', 0]], dtype: 'float32' }, inputs: [{ shape: [3, 0, 2] }] },
]; // prettier-ignore
