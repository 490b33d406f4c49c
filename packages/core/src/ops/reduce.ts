// Reductions over axes: sum, max, min, argmax, with an optional expression before and after. Accumulates in float32.

import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { ArgumentError, ShapeError } from '../errors.ts';
import type { Expr } from '../expr.ts';
import { elementCount, layoutOf, normalizeAxis } from '../layout.ts';
import type { ReduceOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export const reduceDefinition: OpDefinition<ReduceOp> = {
  infer(op, inputs) {
    const x = inputs[0]!;
    const { shape } = x.layout;
    for (const a of op.axes) normalizeAxis(op.fn, a, shape.length);
    if (op.fn === 'argmax' && op.axes.length !== 1) {
      throw new ArgumentError(`argmax: takes one axis, got ${op.axes.length}`);
    }
    if (op.fn !== 'sum' && op.axes.some((a) => shape[a] === 0)) {
      throw new ShapeError(`${op.fn}: axis ${op.axes.join(',')} of [${shape}] is empty`);
    }
    const out = op.keepDims
      ? shape.map((d, i) => (op.axes.includes(i) ? 1 : d))
      : shape.filter((_, i) => !op.axes.includes(i));
    return { dtype: op.fn === 'argmax' ? 'int32' : x.dtype, layout: layoutOf(out) };
  },
  cost(op, inputs) {
    const x = inputs[0]!;
    const n = elementCount(x.layout.shape);
    const m = elementCount(this.infer(op, inputs).layout.shape);
    return { flops: n, bytes: (n + m) * dtypes[x.dtype].bytes };
  },
};

export interface ReduceOptions {
  /** Default: all axes. */
  readonly axes?: readonly number[];
  readonly keepDims?: boolean;
  readonly pre?: Expr;
  readonly post?: Expr;
}

function reduce(fn: ReduceOp['fn'], x: Tensor, options: ReduceOptions): Tensor {
  const axes = (options.axes ?? x.shape.map((_, i) => i)).map((a) => normalizeAxis(fn, a, x.rank));
  const op: ReduceOp = {
    kind: 'reduce',
    fn,
    axes: [...new Set(axes)].sort((a, b) => a - b),
    keepDims: options.keepDims ?? false,
    ...(options.pre !== undefined && { pre: options.pre }),
    ...(options.post !== undefined && { post: options.post }),
  };
  return dispatch(reduceDefinition, op, [x]);
}

export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('sum', x, options);
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('max', x, options);
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('min', x, options);
/** Index of the first maximum along one axis, int32. */
export const argmax = (x: Tensor, axis = -1): Tensor => reduce('argmax', x, { axes: [axis] });

export function mean(x: Tensor, options: Omit<ReduceOptions, 'post'> = {}): Tensor {
  const axes = options.axes ?? x.shape.map((_, i) => i);
  const n = elementCount(axes.map((a) => x.shape.at(a)!));
  return reduce('sum', x, { ...options, post: ['mul', ['in', 0], 1 / n] });
}
