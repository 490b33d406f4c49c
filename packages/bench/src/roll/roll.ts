// The op of docs/add-an-op.md: elements move along one axis, and what leaves at the end comes in at the start, as torch.roll
// has it. A toy: two slices and a concatenation say the same, which is its decomposition.

import { concat, dtypes } from '@darkroom/core';
import { dispatch, elementCount, integer, layoutOf, normalizeAxis, registerOp, size } from '@darkroom/core/backend'; // prettier-ignore
import type { Tensor } from '@darkroom/core';
import type { OpDefinition } from '@darkroom/core/backend';

/** x [.., d, ..] → the same shape; element i along `axis` is element (i - shift) mod d of x. */
export interface RollOp {
  readonly kind: 'roll';
  readonly axis: number;
  readonly shift: number;
}

export const rollDefinition: OpDefinition<RollOp> = {
  kind: 'roll',
  inputs: [1, 1],
  attributes: { axis: size, shift: integer(0) },
  infer(op, [x]) {
    const { shape } = x!.layout;
    normalizeAxis('roll', op.axis, shape.length);
    return { dtype: x!.dtype, layout: layoutOf(shape) };
  },
  cost: (_, [x]) => ({ flops: 0, bytes: 2 * elementCount(x!.layout.shape) * dtypes[x!.dtype].bytes }),
  tolerance: () => ({ atol: 0, rtol: 0 }),
  decompose({ axis, shift }, [x]) {
    const start = x!.shape[axis]! - shift;
    return concat([x!.slice(axis, start), x!.slice(axis, 0, start)], axis);
  },
};

/** x moved by `shift` places along `axis`; negative shifts move to the front. */
export function roll(x: Tensor, shift: number, axis: number): Tensor {
  const a = normalizeAxis('roll', axis, x.rank);
  const d = Math.max(1, x.shape[a]!);
  return dispatch(rollDefinition, { kind: 'roll', axis: a, shift: ((shift % d) + d) % d }, [x]);
}

/** The line of the op table. */
export const registerRoll = (): void => registerOp(rollDefinition);
