// The escape hatch: a kernel of the user's own, with sources by backend. Backends that do not know the language of
// `sources` say so; an optional decompose gives the definition.

import { dispatch } from '../dispatch.ts';
import type { OpDefinition } from '../dispatch.ts';
import { layoutOf } from '../layout.ts';
import type { CustomOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export function customDefinition(decompose?: (inputs: readonly Tensor[]) => Tensor): OpDefinition<CustomOp> {
  return {
    infer: (op) => ({ dtype: op.output.dtype, layout: layoutOf(op.output.shape) }),
    cost: () => ({ flops: 0, bytes: 0 }),
    ...(decompose && { decompose: (_: CustomOp, inputs: readonly Tensor[]) => decompose(inputs) }),
  };
}

/** Runs a user's kernel; where the device cannot, its definition `decompose`. */
export function custom(
  op: Omit<CustomOp, 'kind'>,
  inputs: readonly Tensor[],
  decompose?: (inputs: readonly Tensor[]) => Tensor,
): Tensor {
  return dispatch(customDefinition(decompose), { ...op, kind: 'custom' }, inputs);
}
