// Pointwise work: one op kind that carries an expression. add, silu, guidance, scheduler steps are all this.
// The named functions are a table in pointwise.ts; backends render the expression.

import { dtype as dtypeAttribute, expression, list, number, optional, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { dtypeNames, dtypes, promote } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import type { Expr } from '../expr.ts';
import { exprKey, inputCount, opCount, scalarCount } from '../expr.ts';
import { broadcastShapes, checkShape, elementCount, isDense, layoutOf } from '../layout.ts';
import type { Layout } from '../layout.ts';
import type { Spec } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { pointwiseTolerance } from '../testing/tolerance.ts';

/**
 * Pointwise work: inputs broadcast against each other (and `shape`, needed only without inputs).
 * `scalars` are run-time numbers: they never specialise a kernel.
 */
export interface MapOp {
  readonly kind: 'map';
  readonly expr: Expr;
  readonly dtype: DType;
  readonly shape?: readonly number[];
  readonly scalars?: readonly number[];
}

/**
 * The layout of a pointwise result: the strides of the first input of the result's shape whose elements are dense
 * (so channels-last and token views stay as they are), else contiguous.
 */
export function likeInputs(shape: readonly number[], inputs: readonly Spec[]): Layout {
  const wanted = formatShape(shape);
  for (const { layout } of inputs) {
    if (formatShape(layout.shape) === wanted && isDense(layout))
      return { shape, strides: layout.strides, offset: 0 };
  }
  return layoutOf(shape);
}

/** See OpRules. */
export const mapDefinition: OpDefinition<MapOp> = {
  kind: 'map',
  inputs: [0, 64],
  attributes: {
    expr: expression,
    dtype: dtypeAttribute,
    shape: optional(list(size)),
    scalars: optional(list(number)),
  },
  expressions: {
    expr: (op, inputs, rank) => ({ inputs, scalars: op.scalars?.length ?? 0, axes: rank }),
  },
  key: (op) => `map ${op.dtype} ${op.shape ?? ''} ${op.scalars?.length ?? 0} ${exprKey(op.expr)}`,
  scalars: (op) => op.scalars ?? [],
  // Every call makes a new map with its numbers; the expressions are shared.
  site: {
    stem: ({ expr, shape, scalars }) =>
      typeof expr === 'number' || shape || (scalars && scalars.length > 64) ? undefined : expr,
    variant: (op) => dtypeNames.indexOf(op.dtype) + 8 * (op.scalars?.length ?? 0),
  },
  writesAnywhere: true,
  tolerance: (_op, _inputs, output) => pointwiseTolerance(output),
  infer(op, inputs) {
    if (inputCount(op.expr) > inputs.length) {
      throw new ArgumentError(`map: expression reads ${inputCount(op.expr)} inputs, got ${inputs.length}`);
    }
    const given = op.scalars?.length ?? 0;
    if (scalarCount(op.expr) > given) {
      throw new ArgumentError(`map: expression reads ${scalarCount(op.expr)} scalars, got ${given}`);
    }
    if (inputs.length === 0 && !op.shape) throw new ShapeError('map: without inputs it needs a shape');
    const shapes = inputs.map((x) => x.layout.shape);
    const shape = broadcastShapes('map', ...(op.shape ? [op.shape, ...shapes] : shapes));
    if (op.shape && formatShape(shape) !== formatShape(op.shape)) {
      throw new ShapeError(
        `map: inputs broadcast to ${formatShape(shape)}, which is not ${formatShape(op.shape)}`,
      );
    }
    checkShape('map', shape);
    return { dtype: op.dtype, layout: likeInputs(shape, inputs) };
  },
  cost(op, inputs) {
    const out = this.infer(op, inputs);
    const n = elementCount(out.layout.shape);
    const read = inputs.reduce((b, x) => b + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    return { flops: n * opCount(op.expr), bytes: read + n * dtypes[out.dtype].bytes };
  },
};

/** Options of map. */
export interface MapOptions {
  /** Default: the promotion of the inputs. */
  readonly dtype?: DType;
  readonly shape?: readonly number[];
  readonly scalars?: readonly number[];
  readonly device?: Device;
  readonly out?: Tensor;
}

/** Evaluates `expr` at every element; inputs broadcast. Computes in float32 and rounds once. */
export function map(expr: Expr, inputs: readonly Tensor[], options: MapOptions = {}): Tensor {
  const dtype =
    options.dtype ??
    inputs.map((x) => x.dtype).reduce((a, b) => promote(a, b), inputs[0]?.dtype ?? 'float32');
  const op: MapOp = {
    kind: 'map',
    expr,
    dtype,
    ...(options.shape && { shape: options.shape }),
    ...(options.scalars && options.scalars.length > 0 && { scalars: options.scalars }),
  };
  return dispatch(mapDefinition, op, inputs, { device: options.device, out: options.out });
}
