// groupNorm, layerNorm, rmsNorm. Statistics in float32 from two reads of the row (mean first), on every backend.

import { integer, number, oneOf, optional } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { elementCount } from '../layout.ts';
import type { Cost, Spec } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { normTolerance } from '../testing/tolerance.ts';
import { reshape } from './copy.ts';
import { likeInputs, map } from './map.ts';
import { add, mul, silu, sub } from './pointwise.ts';
import { mean } from './reduce.ts';
import { SharedOps } from './shared-ops.ts';

/** x [n, c, ...] (, weight [c], bias [c]). */
export interface GroupNormOp {
  readonly kind: 'groupNorm';
  readonly groups: number;
  readonly eps: number;
  readonly activation?: 'silu';
}
/** Normalises x [..., d] over the last axis (, weight [d], bias [d]). */
export interface LayerNormOp {
  readonly kind: 'layerNorm';
  readonly eps: number;
}
/** Normalises x [..., d] over the last axis by its root mean square (, weight [d]). */
export interface RmsNormOp {
  readonly kind: 'rmsNorm';
  readonly eps: number;
}

function checkAffine(op: string, inputs: readonly Spec[], size: number): void {
  for (const [i, t] of inputs.slice(1).entries()) {
    if (t.layout.shape.length !== 1 || t.layout.shape[0] !== size) {
      throw new ShapeError(
        `${op}: ${i === 0 ? 'weight' : 'bias'} must be [${size}], got ${formatShape(t.layout.shape)}`,
      );
    }
  }
}

function likeX(op: string, inputs: readonly Spec[]): Spec {
  const x = inputs[0]!;
  requireFloat(op, 'x', x.dtype);
  return { dtype: x.dtype, layout: likeInputs(x.layout.shape, [x]) };
}

/** 8 flops an element; reads twice, writes once. */
function normCost(inputs: readonly Spec[]): Cost {
  const n = elementCount(inputs[0]!.layout.shape);
  return { flops: 8 * n, bytes: 3 * n * dtypes[inputs[0]!.dtype].bytes };
}

/** (x - mean) / √(var + eps) over `axes`, computed in float32. */
function standardize(x: Tensor, axes: readonly number[], eps: number): Tensor {
  const wide = map(['in', 0], [x], { dtype: 'float32' });
  const centred = sub(wide, mean(wide, { axes, keepDims: true }));
  const variance = mean(centred, { axes, keepDims: true, pre: ['mul', ['in', 0], ['in', 0]] });
  return map(['mul', ['in', 0], ['rsqrt', ['add', ['in', 1], eps]]], [centred, variance]);
}

function affine(
  y: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  dtype: Tensor['dtype'],
): Tensor {
  let out = y;
  if (weight) out = mul(out, weight);
  if (bias) out = add(out, bias);
  return map(['in', 0], [out], { dtype });
}

/** See OpRules. */
export const groupNormDefinition: OpDefinition<GroupNormOp> = {
  kind: 'groupNorm',
  inputs: [1, 3],
  attributes: { groups: integer(1), eps: number, activation: optional(oneOf('silu')) },
  defaults: { groups: 1 },
  activation: 'silu',
  tolerance: (_op, _inputs, output) => normTolerance(output),
  infer(op, inputs) {
    const { shape } = inputs[0]!.layout;
    const c = shape[1];
    if (c === undefined || !Number.isInteger(op.groups) || op.groups < 1 || c % op.groups !== 0) {
      throw new ShapeError(
        `groupNorm: ${c} channels are not divisible into ${op.groups} groups (input ${formatShape(shape)})`,
      );
    }
    checkAffine('groupNorm', inputs, c);
    return likeX('groupNorm', inputs);
  },
  cost: (_, inputs) => normCost(inputs),
  decompose(op, [x, weight, bias]) {
    const [n, c, ...rest] = x!.shape as [number, number, ...number[]];
    const grouped = reshape(x!, [n, op.groups, -1]);
    const y = reshape(standardize(grouped, [2], op.eps), x!.shape);
    const perChannel = [c, ...rest.map(() => 1)];
    const out = affine(y, weight?.view(perChannel), bias?.view(perChannel), x!.dtype);
    return op.activation === 'silu' ? silu(out) : out;
  },
};

/** See OpRules. */
export const layerNormDefinition: OpDefinition<LayerNormOp> = {
  kind: 'layerNorm',
  inputs: [1, 3],
  attributes: { eps: number },
  tolerance: (_op, _inputs, output) => normTolerance(output),
  infer(_, inputs) {
    checkAffine('layerNorm', inputs, inputs[0]!.layout.shape.at(-1) ?? 0);
    return likeX('layerNorm', inputs);
  },
  cost: (_, inputs) => normCost(inputs),
  decompose: (op, [x, weight, bias]) =>
    affine(standardize(x!, [x!.rank - 1], op.eps), weight, bias, x!.dtype),
};

/** See OpRules. */
export const rmsNormDefinition: OpDefinition<RmsNormOp> = {
  kind: 'rmsNorm',
  inputs: [1, 2],
  attributes: { eps: number },
  tolerance: (_op, _inputs, output) => normTolerance(output),
  infer(_, inputs) {
    checkAffine('rmsNorm', inputs, inputs[0]!.layout.shape.at(-1) ?? 0);
    return likeX('rmsNorm', inputs);
  },
  cost: (_, inputs) => normCost(inputs),
  decompose(op, [x, weight]) {
    const wide = map(['in', 0], [x!], { dtype: 'float32' });
    const square = mean(wide, { axes: [x!.rank - 1], keepDims: true, pre: ['mul', ['in', 0], ['in', 0]] });
    const y = map(['mul', ['in', 0], ['rsqrt', ['add', ['in', 1], op.eps]]], [wide, square]);
    return affine(y, weight, undefined, x!.dtype);
  },
};

/** Options of groupNorm. */
export interface GroupNormOptions {
  readonly weight?: Tensor | undefined;
  readonly bias?: Tensor | undefined;
  readonly eps?: number;
  readonly activation?: 'silu' | undefined;
}

function affineInputs(op: string, x: Tensor, weight: Tensor | undefined, bias: Tensor | undefined): Tensor[] {
  if (bias && !weight) throw new ArgumentError(`${op}: a bias needs a weight`);
  return [x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
}

const groupNorms = new SharedOps<GroupNormOp>();
const layerNorms = new SharedOps<LayerNormOp>();
const rmsNorms = new SharedOps<RmsNormOp>();

/** x [n, c, ...], weight and bias [c] → the same shape and layout; optionally followed by silu. */
export function groupNorm(x: Tensor, groups: number, options: GroupNormOptions = {}): Tensor {
  const { weight, bias, eps = 1e-5, activation } = options;
  const op = groupNorms.of([groups, eps, activation], () => ({
    kind: 'groupNorm',
    groups,
    eps,
    ...(activation && { activation }),
  }));
  return dispatch(groupNormDefinition, op, affineInputs('groupNorm', x, weight, bias));
}

/** x [..., d], weight and bias [d] → the same shape and layout. */
export function layerNorm(
  x: Tensor,
  options: { weight?: Tensor | undefined; bias?: Tensor | undefined; eps?: number } = {},
): Tensor {
  const { weight, bias, eps = 1e-5 } = options;
  return dispatch(
    layerNormDefinition,
    layerNorms.of([eps], () => ({ kind: 'layerNorm', eps })),
    affineInputs('layerNorm', x, weight, bias),
  );
}

/** x [..., d], weight [d] → x / √(mean x² + eps) · weight. */
export function rmsNorm(x: Tensor, options: { weight?: Tensor | undefined; eps?: number } = {}): Tensor {
  const { weight, eps = 1e-6 } = options;
  return dispatch(
    rmsNormDefinition,
    rmsNorms.of([eps], () => ({ kind: 'rmsNorm', eps })),
    affineInputs('rmsNorm', x, weight, undefined),
  );
}
