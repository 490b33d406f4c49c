// Multi-head attention with diffusers' parameter names. A processor (attention-processor.ts) computes the layer, a
// strategy (attention-strategies.ts: plain, sliced or fused) its heads; both are set per layer.

import { add, Module, nn, reshape } from '@darkroom/core';
import type { AnyModule, GroupNorm, Linear, Tensor } from '@darkroom/core';
import { plainProcessor } from './attention-processor.ts';
import type { AttentionProcessor } from './attention-processor.ts';
import { fusedAttention } from './attention-strategies.ts';
import type { AttentionStrategy } from './attention-strategies.ts';
import type { Conditioning } from './conditioning.ts';
import { Identity } from './identity.ts';

/** Sizes of an attention layer. */
export interface AttentionOptions {
  readonly queryDim: number;
  /** Width of the text's hidden states; undefined for self-attention. */
  readonly crossDim?: number | undefined;
  readonly heads: number;
  readonly headDim: number;
  readonly bias?: boolean;
  /** Scores in float32 for any dtype (SD 2.1). */
  readonly upcast?: boolean;
  /** The VAE's attention: group norm first, residual last. */
  readonly groupNorm?: { readonly groups: number; readonly eps: number };
}

/** Self- or cross-attention over tokens. */
export class Attention extends Module<[x: Tensor, conditioning?: Conditioning | undefined], Tensor> {
  group_norm?: GroupNorm;
  to_q: Linear;
  to_k: Linear;
  to_v: Linear;
  to_out: [Linear, Identity];
  /** The computation of the heads. */
  strategy: AttentionStrategy = fusedAttention;
  #processor: AttentionProcessor = plainProcessor;
  readonly heads: number;
  readonly headDim: number;
  readonly upcast: boolean;
  /** True for cross-attention: keys and values come from the text. */
  readonly isCross: boolean;

  constructor(o: AttentionOptions) {
    super();
    const inner = o.heads * o.headDim;
    const crossDim = o.crossDim ?? o.queryDim;
    const bias = o.bias ?? false;
    if (o.groupNorm) this.group_norm = nn.groupNorm(o.groupNorm.groups, o.queryDim, o.groupNorm.eps);
    this.to_q = nn.linear(o.queryDim, inner, { bias });
    this.to_k = nn.linear(crossDim, inner, { bias });
    this.to_v = nn.linear(crossDim, inner, { bias });
    this.to_out = [nn.linear(inner, o.queryDim), new Identity()];
    this.heads = o.heads;
    this.headDim = o.headDim;
    this.upcast = o.upcast ?? false;
    this.isCross = o.crossDim !== undefined;
  }

  /** Multiplies the scores: 1 / √headDim. */
  get scale(): number {
    return 1 / Math.sqrt(this.headDim);
  }

  /**
   * The computation of the layer. A processor with weights (a Module) becomes the layer's.
   * @throws ArgumentError if it is another layer's
   */
  get processor(): AttentionProcessor {
    return this.#processor;
  }
  set processor(processor: AttentionProcessor) {
    if (processor === this.#processor) return;
    if (processor instanceof Module) {
      const before = this.detach('processor');
      try {
        this.attach('processor', processor as AnyModule);
      } catch (error) {
        if (before) this.attach('processor', before);
        throw error;
      }
    } else this.detach('processor');
    this.#processor = processor;
  }

  /** x [b, l, c] → [b, l, c]; cross-attention reads conditioning.encoderHiddenStates [b, s, crossDim]. */
  override forward(x: Tensor, conditioning?: Conditioning): Tensor {
    return this.#processor.call({
      attn: this,
      hiddenStates: x,
      encoderHiddenStates: this.isCross ? conditioning!.encoderHiddenStates : x,
      conditioning,
      strategy: this.strategy,
    });
  }
}

/** Self-attention over the pixels of an image, in the VAE's middle block: norm, attention, residual. */
export class ImageAttention extends Attention {
  /** x [n, c, h, w] → the same shape. */
  override forward(x: Tensor): Tensor {
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const normed = this.group_norm!.call(x);
    const tokens = reshape(normed.permute(0, 2, 3, 1), [n, h * w, c]);
    const out = super.forward(tokens);
    return add(x, out.view([n, h, w, c]).permute(0, 3, 1, 2));
  }
}
