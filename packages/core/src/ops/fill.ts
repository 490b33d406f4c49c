// Constant tensors. The value is run-time data, so that one kernel serves all.

import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { dtypes } from '../dtype.ts';
import { checkShape, elementCount, layoutOf } from '../layout.ts';
import type { FillOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export const fillDefinition: OpDefinition<FillOp> = {
  infer(op) {
    checkShape('fill', op.shape);
    return { dtype: op.dtype, layout: layoutOf(op.shape) };
  },
  cost: (op) => ({ flops: 0, bytes: elementCount(op.shape) * dtypes[op.dtype].bytes }),
};

export interface CreateOptions {
  /** May be undefined only inside a trace. */
  readonly device: Device | undefined;
  readonly dtype?: DType;
}

export function full(shape: readonly number[], value: number, options: CreateOptions): Tensor {
  const op: FillOp = { kind: 'fill', shape, dtype: options.dtype ?? 'float32', value };
  return dispatch(fillDefinition, op, [], { device: options.device });
}
export const zeros = (shape: readonly number[], options: CreateOptions): Tensor => full(shape, 0, options);
export const ones = (shape: readonly number[], options: CreateOptions): Tensor => full(shape, 1, options);
