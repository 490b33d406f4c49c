// Matrix products with an optional fused epilogue. Transposes are strides, never attributes. float32 accumulation.

import { expression, optional, precision } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, promote, requireFloat } from '../dtype.ts';
import { DTypeError, formatShape, ShapeError } from '../errors.ts';
import { exprKey } from '../expr.ts';
import type { Expr } from '../expr.ts';
import { broadcastShapes, elementCount, expandLayout, layoutOf } from '../layout.ts';
import type { Precision } from '../op.ts';
import { epilogueTolerance, productTolerance } from '../testing/tolerance.ts';
import type { Tensor } from '../tensor.ts';
import { map } from './map.ts';
import { activations } from './pointwise.ts';
import type { Activation } from './pointwise.ts';
import { SharedOps } from './shared-ops.ts';

/**
 * a [..., m, k] × b [..., k, n] → [..., m, n]. Transposes are views. Epilogue: an expression over
 * ['in', 0] = the float32 accumulator and ['in', 1…] = the extra inputs, broadcast to the output.
 */
export interface MatmulOp {
  readonly kind: 'matmul';
  readonly precision?: Precision;
  readonly epilogue?: Expr;
}

/** See OpRules. */
export const matmulDefinition: OpDefinition<MatmulOp> = {
  kind: 'matmul',
  inputs: [2, 64],
  attributes: { precision, epilogue: optional(expression) },
  expressions: { epilogue: (_, inputs) => ({ inputs: inputs - 1, scalars: 0, axes: 0 }) },
  key: (op) => `matmul ${op.precision ?? ''} ${op.epilogue === undefined ? '' : exprKey(op.epilogue)}`,
  epilogueAfter: 2,
  weight: { input: 1, adjacent: (_, shape) => (shape.length === 2 ? [0, 1] : undefined) },
  tolerance: (op, inputs, output) =>
    epilogueTolerance(productTolerance(op, inputs, inputs[0]!.layout.shape.at(-1)!, output), op.epilogue),
  infer(op, [a, b, ...extra]) {
    const [as, bs] = [a!.layout.shape, b!.layout.shape];
    requireFloat('matmul', 'a', a!.dtype);
    requireFloat('matmul', 'b', b!.dtype);
    if (as.length < 2 || bs.length < 2 || as.at(-1) !== bs.at(-2)) {
      throw new ShapeError(
        `matmul: needs [..., m, k] × [..., k, n], got ${formatShape(as)} × ${formatShape(bs)}` +
          (as.length >= 2 && bs.length >= 2 ? ` (k is ${as.at(-1)} and ${bs.at(-2)})` : ''),
      );
    }
    const batch = broadcastShapes('matmul', as.slice(0, -2), bs.slice(0, -2));
    const shape = [...batch, as.at(-2)!, bs.at(-1)!];
    for (const e of extra) expandLayout('matmul epilogue', e.layout, shape);
    return { dtype: promote(a!.dtype, b!.dtype), layout: layoutOf(shape) };
  },
  cost(op, inputs) {
    const out = this.infer(op, inputs);
    const n = elementCount(out.layout.shape);
    const k = inputs[0]!.layout.shape.at(-1)!;
    const read = inputs.reduce((s, x) => s + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    return { flops: 2 * n * k, bytes: read + n * dtypes[out.dtype].bytes };
  },
  decompose(op, [a, b, ...extra]) {
    if (!op.epilogue) throw new DTypeError(`matmul: the device cannot multiply ${a!.dtype} with ${b!.dtype}`);
    const { epilogue, ...plain } = op;
    const acc = dispatch(matmulDefinition, plain, [a!, b!]);
    return map(epilogue, [acc, ...extra], { dtype: acc.dtype });
  },
};

/** Pointwise work on the float32 accumulator of a product before the result is stored. */
export interface Epilogue {
  /** Broadcast to the output; usually [n]. */
  readonly bias?: Tensor | undefined;
  /** Added after bias and before the activation. */
  readonly residual?: Tensor | undefined;
  readonly activation?: Activation | undefined;
  /** Multiplies the accumulator first. */
  readonly scale?: number | undefined;
}

/**
 * The expression and extra inputs of scale·acc + bias + residual, then the activation; undefined when there is nothing.
 */
export function epilogueOf(e: Epilogue): { expr: Expr | undefined; extra: Tensor[] } {
  const extra = [e.bias, e.residual].filter((t) => t !== undefined);
  const { scale = 1, activation } = e;
  const { expr } = epilogues.of([scale, extra.length, activation], () => ({
    expr: epilogueExpr(e, extra.length),
  }));
  return { expr, extra };
}

/** The epilogues that models use, one object each. */
const epilogues = new SharedOps<{ readonly expr: Expr | undefined }>();

function epilogueExpr(e: Epilogue, extras: number): Expr | undefined {
  let expr: Expr = ['in', 0];
  if (e.scale !== undefined && e.scale !== 1) expr = ['mul', expr, e.scale];
  for (let i = 1; i <= extras; i++) expr = ['add', expr, ['in', i]];
  if (e.activation) expr = activations[e.activation](expr);
  return typeof expr !== 'number' && expr[0] === 'in' ? undefined : expr;
}

/** Only the non-default precision is written down, so that plans stay short. */
export function precisionAttribute(precision: Precision | undefined): { precision?: Precision } {
  return precision === 'tf32' ? { precision } : {};
}

const matmuls = new SharedOps<MatmulOp>();

/** a [..., m, k] × b [..., k, n] → [..., m, n] contiguous; batch dimensions broadcast. */
export function matmul(a: Tensor, b: Tensor, epilogue: Epilogue = {}): Tensor {
  const { expr, extra } = epilogueOf(epilogue);
  const rounding = a.deviceOrNone?.precision.matmul;
  const op = matmuls.of([rounding, expr], () => ({
    kind: 'matmul',
    ...precisionAttribute(rounding),
    ...(expr !== undefined && { epilogue: expr }),
  }));
  return dispatch(matmulDefinition, op, [a, b, ...extra]);
}

/** x [..., k], weight [n, k] (PyTorch's order) → [..., n]. */
export function linear(x: Tensor, weight: Tensor, epilogue: Epilogue = {}): Tensor {
  if (x.rank < 1 || weight.rank !== 2 || x.shape.at(-1) !== weight.shape[1]) {
    throw new ShapeError(
      `linear: input has ${x.shape.at(-1)} features but weight expects ${weight.shape[1]} ` +
        `(input ${formatShape(x.shape)}, weight ${formatShape(weight.shape)})`,
    );
  }
  const [input, transposed] = [x.rank === 1 ? x.view([1, -1]) : x, weight.transpose()];
  try {
    return matmul(input, transposed, epilogue);
  } finally {
    transposed.dispose();
    if (input !== x) input.dispose();
  }
}
