// Attention strategies: the computation of heads, as objects to set on Attention modules. Results are equal up to
// rounding; memory differs: plain holds the whole score matrix, sliced that of a few heads, fused none if the backend
// has a kernel.

import { ArgumentError, attention, matmul, scope, softmax, zeros } from '@darkroom/core';
import { assign } from '@darkroom/core/backend';
import type { Tensor } from '@darkroom/core';

/** Computes the heads of an attention layer. */
export interface AttentionStrategy {
  readonly name: string;
  /** q [b, heads, l, d], k and v [b, heads, s, d] → [b, heads, l, d], best in q's layout. */
  run(q: Tensor, k: Tensor, v: Tensor, options: { scale: number }): Tensor;
}

/** Attention as one op: without a score matrix on backends with a flash kernel. */
export const fusedAttention: AttentionStrategy = {
  name: 'fused',
  run: (q, k, v, options) => attention(q, k, v, options),
};

/** The definition: softmax(q·kᵀ·scale)·v with the score matrix in memory. For comparison, and for use with slicing. */
export const plainAttention: AttentionStrategy = {
  name: 'plain',
  run: (q, k, v, { scale }) => scope(() => matmul(softmax(matmul(q, k.transpose(), { scale })), v)),
};

/** Another strategy, a few heads at a time. */
export interface SlicedAttention extends AttentionStrategy {
  readonly headsPerSlice: number;
  readonly inner: AttentionStrategy;
}

/** Runs `inner` for `headsPerSlice` heads of one batch item at a time. @throws ArgumentError unless an integer >= 1 */
export function slicedAttention(
  headsPerSlice: number,
  inner: AttentionStrategy = plainAttention,
): SlicedAttention {
  if (!Number.isInteger(headsPerSlice) || headsPerSlice < 1)
    throw new ArgumentError(`slicedAttention: needs a whole number of heads >= 1, got ${headsPerSlice}`);
  return {
    name: `sliced(${headsPerSlice}, ${inner.name})`,
    headsPerSlice,
    inner,
    run(q, k, v, options) {
      const [b, heads, l, d] = q.shape as [number, number, number, number];
      // Memory order: tokens before heads, as in q, so that merging the heads copies nothing.
      const out = zeros([b, l, heads, d], { device: q.deviceOrNone, dtype: q.dtype });
      for (let item = 0; item < b; item++) {
        for (let head = 0; head < heads; head += headsPerSlice) {
          const part = (t: Tensor, axis = 1): Tensor =>
            t.slice(0, item, item + 1).slice(axis, head, Math.min(heads, head + headsPerSlice));
          scope(() => {
            const heard = inner.run(part(q), part(k), part(v), options);
            assign(heard.permute(0, 2, 1, 3), part(out, 2)); // slices only: recordable
          });
        }
      }
      return out.permute(0, 2, 1, 3);
    },
  };
}

/** True for strategies made by slicedAttention(). */
export function isSliced(strategy: object): strategy is SlicedAttention {
  return 'inner' in strategy && 'headsPerSlice' in strategy;
}
