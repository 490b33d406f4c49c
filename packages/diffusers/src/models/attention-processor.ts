// An attention layer's computation as an object that can be put into each layer: IP-Adapter, fused projections, a
// program's own. How heads are computed stays the layer's strategy, which a processor is given.

import { cast, reshape } from '@darkroom/core';
import type { AnyModule, Linear, Tensor } from '@darkroom/core';
import type { AttentionStrategy } from './attention-strategies.ts';
import type { Conditioning } from './conditioning.ts';

/** An attention layer, as its processor sees it. */
export interface AttentionLayer extends AnyModule {
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  /** The output projection, and a place that training uses. */
  readonly to_out: readonly [Linear, AnyModule];
  readonly heads: number;
  readonly headDim: number;
  /** How heads are computed. */
  readonly strategy: AttentionStrategy;
  /** What scores are multiplied by. */
  readonly scale: number;
  /** True: scores in float32 whatever the dtype. */
  readonly upcast: boolean;
  /** True when keys and values come from the text, not from the layer's own input. */
  readonly isCross: boolean;
}

/** One call of an attention layer, as its processor sees it. */
export interface AttentionCall {
  readonly attn: AttentionLayer;
  /** [b, l, queryDim]. */
  readonly hiddenStates: Tensor;
  /** What keys and values are made of: [b, s, crossDim] of the text, or the hidden states in self-attention. */
  readonly encoderHiddenStates: Tensor;
  /** All that the denoiser reads, whatever the layer attends to; undefined in a VAE. */
  readonly conditioning: Conditioning | undefined;
  /** How heads are computed. */
  readonly strategy: AttentionStrategy;
}

/**
 * Computes an attention layer: [b, l, queryDim] → the same shape. A processor with weights of its own is a Module; each
 * layer takes one of its own then, whose weights are no part of the model's stateDict but move and are traced with it.
 */
export interface AttentionProcessor {
  call(call: AttentionCall): Tensor;
}

/** The definition: projections, heads by the strategy, output projection. */
export const plainProcessor: AttentionProcessor = {
  call({ attn, hiddenStates, encoderHiddenStates, strategy }) {
    const q = splitHeads(attn, attn.to_q.call(hiddenStates));
    const k = splitHeads(attn, attn.to_k.call(encoderHiddenStates));
    const v = splitHeads(attn, attn.to_v.call(encoderHiddenStates));
    const merged = mergeHeads(attn, strategy.run(q, k, v, { scale: attn.scale }));
    return attn.to_out[0].call(cast(merged, hiddenStates.dtype));
  },
};

/** Projected tokens [b, l, heads · headDim] → [b, heads, l, headDim], a view; in float32 where the layer computes wide. */
export function splitHeads(attn: AttentionLayer, tokens: Tensor): Tensor {
  const [b, l] = tokens.shape as [number, number];
  const heads = tokens.view([b, l, attn.heads, attn.headDim]).permute(0, 2, 1, 3);
  return attn.upcast ? cast(heads, 'float32') : heads;
}

/** [b, heads, l, headDim] → [b, l, heads · headDim]. */
export function mergeHeads(attn: AttentionLayer, heads: Tensor): Tensor {
  const [b, , l] = heads.shape as [number, number, number];
  return reshape(heads.permute(0, 2, 1, 3), [b, l, attn.heads * attn.headDim]);
}
