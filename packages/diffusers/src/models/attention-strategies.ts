// How heads are computed, as objects to set on Attention modules. All give the same numbers up to rounding; they differ
// in what they hold: plain the whole score matrix, sliced that of a few heads, fused none where a backend has a kernel.

import { ArgumentError, attention, matmul, scope, softmax, zeros } from '@darkroom/core';
import { assign } from '@darkroom/core/backend';
import type { Tensor } from '@darkroom/core';

/** How the heads of a layer are computed. */
export interface AttentionStrategy {
  readonly name: string;
  /** q [b, heads, l, d], k and v [b, heads, s, d] → [b, heads, l, d], best in q's layout. */
  run(q: Tensor, k: Tensor, v: Tensor, options: { scale: number }): Tensor;
}

/** One op; the backend decides how, and never holds the score matrix where it has a flash kernel. */
export const fusedAttention: AttentionStrategy = {
  name: 'fused',
  run: (q, k, v, options) => attention(q, k, v, options),
};

/** The definition: softmax(q·kᵀ·scale)·v with the score matrix in memory. For measuring, and to see what slicing saves. */
export const plainAttention: AttentionStrategy = {
  name: 'plain',
  run: (q, k, v, { scale }) => scope(() => matmul(softmax(matmul(q, k.transpose(), { scale })), v)),
};

/** Another strategy, a few heads at a time. */
export interface SlicedAttention extends AttentionStrategy {
  readonly headsPerSlice: number;
  readonly inner: AttentionStrategy;
}

/** `inner` for so many heads of one batch item at a time. */
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
      // Tokens before heads, as q comes: merging the heads then moves nothing.
      const out = zeros([b, l, heads, d], { device: q.deviceOrNone, dtype: q.dtype });
      for (let item = 0; item < b; item++) {
        for (let head = 0; head < heads; head += headsPerSlice) {
          const part = (t: Tensor, axis = 1): Tensor =>
            t.slice(0, item, item + 1).slice(axis, head, Math.min(heads, head + headsPerSlice));
          scope(() => {
            const heard = inner.run(part(q), part(k), part(v), options);
            assign(heard.permute(0, 2, 1, 3), part(out, 2)); // through slices alone, so that it can be recorded
          });
        }
      }
      return out.permute(0, 2, 1, 3);
    },
  };
}

/** True for what slicedAttention() made. */
export function isSliced(strategy: object): strategy is SlicedAttention {
  return 'inner' in strategy && 'headsPerSlice' in strategy;
}
