// The escape hatch: a kernel of the user's own, with sources by backend. Backends that do not know the language of
// `sources` say so; an optional decompose gives the definition.

import { dispatch } from '../dispatch.ts';
import type { OpDefinition } from '../dispatch.ts';
import type { DType } from '../dtype.ts';
import { layoutOf } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { exactTolerance } from '../testing/tolerance.ts';

/** A user's own kernel: `sources` by backend name; `output` is the spec of its result. */
export interface CustomOp {
  readonly kind: 'custom';
  readonly name: string;
  readonly output: { readonly shape: readonly number[]; readonly dtype: DType };
  readonly sources: Readonly<Record<string, string>>;
}

/**
 * See OpRules. Files may not contain this op: its sources would be a stranger's program on this machine's devices.
 */
export function customDefinition(decompose?: (inputs: readonly Tensor[]) => Tensor): OpDefinition<CustomOp> {
  return {
    kind: 'custom',
    inputs: [0, 64],
    tolerance: exactTolerance,
    infer: (op) => ({ dtype: op.output.dtype, layout: layoutOf(op.output.shape) }),
    cost: () => ({ flops: 0, bytes: 0 }),
    ...(decompose && { decompose: (_: CustomOp, inputs: readonly Tensor[]) => decompose(inputs) }),
  };
}

/** Runs a user's kernel, or its definition `decompose` on devices without a source. */
export function custom(
  op: Omit<CustomOp, 'kind'>,
  inputs: readonly Tensor[],
  decompose?: (inputs: readonly Tensor[]) => Tensor,
): Tensor {
  return dispatch(customDefinition(decompose), { ...op, kind: 'custom' }, inputs);
}
