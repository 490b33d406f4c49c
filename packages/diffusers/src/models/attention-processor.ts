// Attention processors: an attention layer's computation as an object that can be set per layer, for IP-Adapter, fused
// projections or a user's own code. The computation of the heads is the layer's strategy, which the processor receives.

import { cast, reshape } from '@darkroom/core';
import type { AnyModule, Linear, Tensor } from '@darkroom/core';
import type { AttentionStrategy } from './attention-strategies.ts';
import type { Conditioning } from './conditioning.ts';

/** An attention layer, by the members that its processor reads. */
export interface AttentionLayer extends AnyModule {
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  /** The output projection, and an identity in the place of training's dropout. */
  readonly to_out: readonly [Linear, AnyModule];
  readonly heads: number;
  readonly headDim: number;
  /** The computation of the heads. */
  readonly strategy: AttentionStrategy;
  /** Factor of the scores. */
  readonly scale: number;
  /** True: scores in float32 for any dtype. */
  readonly upcast: boolean;
  /** True for cross-attention: keys and values come from the text. */
  readonly isCross: boolean;
}

/** The arguments of one call of an attention layer. */
export interface AttentionCall {
  readonly attn: AttentionLayer;
  /** [b, l, queryDim]. */
  readonly hiddenStates: Tensor;
  /** Input of keys and values: the text's hidden states [b, s, crossDim], or `hiddenStates` in self-attention. */
  readonly encoderHiddenStates: Tensor;
  /** The denoiser's whole conditioning; undefined in a VAE. */
  readonly conditioning: Conditioning | undefined;
  /** The computation of the heads. */
  readonly strategy: AttentionStrategy;
}

/**
 * Computes an attention layer: [b, l, queryDim] → the same shape. A processor with weights is a Module, and each layer
 * needs an instance of its own. Its weights are moved and traced with the model, but are not in the model's stateDict.
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

/**
 * Projected tokens [b, l, heads · headDim] → [b, heads, l, headDim], a view; in float32 where the layer computes wide.
 */
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
