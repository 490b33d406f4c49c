// The descriptor of copy, apart from copy's functions (copy.ts), because dispatch itself uses this op to copy the
// result of a decomposition into the caller's `out`.

import { dtype, list, number, oneOf, optional, size } from '../attributes.ts';
import type { DType } from '../dtype.ts';
import { dtypes } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import type { MemoryFormat } from '../layout.ts';
import { elementCount, layoutOf } from '../layout.ts';
import type { OpRules } from '../op-rules.ts';
import { exactTolerance } from '../testing/tolerance.ts';
import { SharedOps } from './shared-ops.ts';

/**
 * Assembles a tensor of `shape`: filled with `fill` where no input lands, input i placed at `starts[i]`, later ones
 * over earlier ones. One input at 0: contiguous, cast or format change; several: concat; with fill: pad.
 */
export interface CopyOp {
  readonly kind: 'copy';
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly format: MemoryFormat;
  readonly starts: readonly (readonly number[])[];
  readonly fill?: number;
}

/** See OpRules. Copies are exact but for one rounding that all kernels share. */
export const copyRules: OpRules<CopyOp> = {
  kind: 'copy',
  inputs: [0, 4096],
  attributes: {
    shape: list(size),
    dtype,
    format: oneOf('contiguous', 'channelsLast'),
    starts: list(list(size)),
    fill: optional(number),
  },
  writesAnywhere: true,
  infer(op, inputs) {
    if (op.starts.length !== inputs.length) {
      throw new ArgumentError(`copy: ${inputs.length} inputs but ${op.starts.length} starts`);
    }
    for (const [i, x] of inputs.entries()) {
      const start = op.starts[i]!;
      const fits =
        x.layout.shape.length === op.shape.length &&
        start.length === op.shape.length &&
        x.layout.shape.every((d, a) => start[a]! >= 0 && start[a]! + d <= op.shape[a]!);
      if (!fits) {
        throw new ShapeError(
          `copy: input ${i} ${formatShape(x.layout.shape)} at ${formatShape(start)} does not fit in ${formatShape(op.shape)}`,
        );
      }
    }
    return { dtype: op.dtype, layout: layoutOf(op.shape, op.format) };
  },
  cost(op, inputs) {
    const read = inputs.reduce((s, x) => s + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    return { flops: 0, bytes: read + elementCount(op.shape) * dtypes[op.dtype].bytes };
  },
  tolerance: exactTolerance,
};

const wholeCopies = new SharedOps<CopyOp>();

/** The copy of one whole tensor of `shape`; 'strided' counts as contiguous. */
export function wholeCopy(
  shape: readonly number[],
  to: DType,
  format: MemoryFormat | 'strided' = 'contiguous',
): CopyOp {
  const last = format === 'channelsLast';
  return wholeCopies.of([to, last, ...shape], () => ({
    kind: 'copy',
    shape: [...shape],
    dtype: to,
    format: last ? 'channelsLast' : 'contiguous',
    starts: [shape.map(() => 0)],
  }));
}
