// Shapes, layouts and dtypes from which the random kernel cases of every op are drawn.

import type * as FastCheck from 'fast-check';
import type { DType } from '../../dtype.ts';
import type { Expr } from '../../expr.ts';
import { activations } from '../../ops/pointwise.ts';
import type { KernelOp } from '../../ops/table.ts';
import type { InputLayout, InputSpec } from '../inputs.ts';
import type { KernelCase } from '../kernel-case.ts';

/** fast-check's default export: the caller passes it in, so that core depends on nothing. */
export type Fc = typeof FastCheck.default;
/** A generator of random values. */
export type Arb<T> = FastCheck.Arbitrary<T>;

/** Generators that the cases of all ops share. */
export interface Draw {
  readonly fc: Fc;
  /** 1 and 2 more often than their share. */
  size(max: number): Arb<number>;
  readonly float: Arb<DType>;
  /** One to `maxRank` dimensions. */
  shape(maxRank: number, maxSize: number): Arb<number[]>;
  /** An input of any float dtype and layout, unless `more` says which. */
  input(dims: readonly number[], more?: Partial<InputSpec>): Arb<InputSpec>;
}

const layouts: readonly InputLayout[] = [
  'contiguous',
  'channelsLast',
  'permuted',
  'transposed',
  'sliced',
  'offset',
];

/** The generators, made with the caller's fast-check. */
export function drawWith(fc: Fc): Draw {
  const size = (max: number): Arb<number> =>
    fc.oneof(
      { weight: 1, arbitrary: fc.constantFrom(1, 2) },
      { weight: 4, arbitrary: fc.integer({ min: 1, max }) },
    );
  const float: Arb<DType> = fc.oneof(
    { weight: 3, arbitrary: fc.constant<DType>('float32') },
    { weight: 1, arbitrary: fc.constantFrom<DType>('float16', 'bfloat16') },
  );
  const layout = fc.constantFrom(...layouts);
  return {
    fc,
    size,
    float,
    shape: (maxRank, maxSize) => fc.array(size(maxSize), { minLength: 1, maxLength: maxRank }),
    input: (dims, more = {}) =>
      fc
        .record({ dtype: float, layout })
        .map(({ dtype, layout: l }) => ({ shape: dims, dtype, layout: l, ...more })),
  };
}

/** A random case of an op. */
export const make = (op: KernelOp, inputs: readonly InputSpec[]): KernelCase => ({
  name: `random ${op.kind}`,
  op,
  inputs,
});

const epilogues: readonly (Expr | undefined)[] = [
  undefined,
  ['add', ['in', 0], ['in', 1]],
  activations.silu(['add', ['in', 0], ['in', 1]]),
  ['add', activations.gelu(['mul', ['in', 0], 0.5]), ['in', 1]],
];

/** A product with one of four epilogues, which reads the third input. */
export function finished(
  op: KernelOp,
  [a, b, c]: readonly [InputSpec, InputSpec, InputSpec],
  which: number,
): KernelCase {
  const epilogue = epilogues[which];
  return epilogue ? make({ ...op, epilogue } as KernelOp, [a, b, c]) : make(op, [a, b]);
}
