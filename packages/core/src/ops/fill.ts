// Constant tensors. The value is run-time data, so that one kernel serves all.

import { dtype, list, number, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { dtypes } from '../dtype.ts';
import { checkShape, elementCount, layoutOf } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { exactTolerance } from '../testing/tolerance.ts';

/** A contiguous tensor of `shape` with `value` everywhere. */
export interface FillOp {
  readonly kind: 'fill';
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly value: number;
}

/** See OpRules. */
export const fillDefinition: OpDefinition<FillOp> = {
  kind: 'fill',
  inputs: [0, 0],
  attributes: { shape: list(size), dtype, value: number },
  key: (op) => `fill ${op.dtype} ${op.shape}`,
  scalars: (op) => [op.value],
  tolerance: exactTolerance,
  infer(op) {
    checkShape('fill', op.shape);
    return { dtype: op.dtype, layout: layoutOf(op.shape) };
  },
  cost: (op) => ({ flops: 0, bytes: elementCount(op.shape) * dtypes[op.dtype].bytes }),
};

/** Options of full, zeros and ones. */
export interface CreateOptions {
  /** May be undefined only inside a trace. */
  readonly device: Device | undefined;
  readonly dtype?: DType;
}

/** A contiguous tensor of `shape` with `value` everywhere; float32 by default. */
export function full(shape: readonly number[], value: number, options: CreateOptions): Tensor {
  const op: FillOp = { kind: 'fill', shape, dtype: options.dtype ?? 'float32', value };
  return dispatch(fillDefinition, op, [], { device: options.device });
}
/** As full, with 0. */
export const zeros = (shape: readonly number[], options: CreateOptions): Tensor => full(shape, 0, options);
/** As full, with 1. */
export const ones = (shape: readonly number[], options: CreateOptions): Tensor => full(shape, 1, options);
