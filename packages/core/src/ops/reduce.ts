// Reductions over axes: sum, max, min, argmax, with an optional expression before and after. Accumulates in float32.

import { boolean, expression, list, oneOf, optional, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { ArgumentError, ShapeError } from '../errors.ts';
import type { Expr } from '../expr.ts';
import { elementCount, layoutOf, normalizeAxis } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { reductionTolerance } from '../testing/tolerance.ts';
import { SharedOps } from './shared-ops.ts';

/** fn over `axes` of pre(x); then post. Without keepDims the axes vanish. argmax takes one axis, gives int32. */
export interface ReduceOp {
  readonly kind: 'reduce';
  readonly fn: 'sum' | 'max' | 'min' | 'argmax';
  readonly axes: readonly number[];
  readonly keepDims: boolean;
  readonly pre?: Expr;
  readonly post?: Expr;
}

/** See OpRules. */
export const reduceDefinition: OpDefinition<ReduceOp> = {
  kind: 'reduce',
  inputs: [1, 1],
  attributes: {
    fn: oneOf('sum', 'max', 'min', 'argmax'),
    axes: list(size),
    keepDims: boolean,
    pre: optional(expression),
    post: optional(expression),
  },
  expressions: {
    pre: () => ({ inputs: 1, scalars: 0, axes: 0 }),
    post: () => ({ inputs: 1, scalars: 0, axes: 0 }),
  },
  tolerance: (op, [x], output) => reductionTolerance(op.fn, elementCount(x!.layout.shape), output),
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

/** Options of sum, max, min and mean. */
export interface ReduceOptions {
  /** Default: all axes. */
  readonly axes?: readonly number[];
  readonly keepDims?: boolean;
  readonly pre?: Expr;
  readonly post?: Expr;
}

const reductions = new SharedOps<ReduceOp>();

function reduce(fn: ReduceOp['fn'], x: Tensor, options: ReduceOptions): Tensor {
  const axes = (options.axes ?? x.shape.map((_, i) => i)).map((a) => normalizeAxis(fn, a, x.rank));
  const sorted = [...new Set(axes)].sort((a, b) => a - b);
  const { keepDims = false, pre, post } = options;
  const op = reductions.of([fn, keepDims, pre, post, ...sorted], () => ({
    kind: 'reduce',
    fn,
    axes: sorted,
    keepDims,
    ...(pre !== undefined && { pre }),
    ...(post !== undefined && { post }),
  }));
  return dispatch(reduceDefinition, op, [x]);
}

/** Σ over axes. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('sum', x, options);
/** The largest over axes, none of which may be empty. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('max', x, options);
/** The smallest over axes, none of which may be empty. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce('min', x, options);
/** Index of the first maximum along one axis, int32. */
export const argmax = (x: Tensor, axis = -1): Tensor => reduce('argmax', x, { axes: [axis] });

/** The mean over axes. */
export function mean(x: Tensor, options: Omit<ReduceOptions, 'post'> = {}): Tensor {
  const axes = options.axes ?? x.shape.map((_, i) => i);
  const n = elementCount(axes.map((a) => x.shape.at(a)!));
  return reduce('sum', x, { ...options, post: dividedBy(n) });
}

/** One expression per element count, so that ops are shared. */
const divisions = new Map<number, Expr>();
const mostDivisions = 1024;

function dividedBy(n: number): Expr {
  const known = divisions.get(n);
  if (known !== undefined) return known;
  const made: Expr = ['mul', ['in', 0], 1 / n];
  if (divisions.size < mostDivisions) divisions.set(n, made);
  return made;
}
