// Multi-head attention with diffusers' parameter names. How heads are computed is a strategy object, set per module:
// the seam for slicing and other memory policies (attention-strategies.ts). Heads are views; nothing is copied to split or merge them.

import { add, cast, GroupNorm, Linear, Module, reshape } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { fusedAttention } from './attention-strategies.ts';
import type { AttentionStrategy } from './attention-strategies.ts';
import type { Conditioning } from './conditioning.ts';
import { Identity } from './identity.ts';

export interface AttentionOptions {
  readonly queryDim: number;
  /** Width of the text hidden states that keys and values are made of; without it the layer is self-attention. */
  readonly crossDim?: number | undefined;
  readonly heads: number;
  readonly headDim: number;
  readonly bias?: boolean;
  /** Scores in float32 whatever the dtype (SD 2.1). */
  readonly upcast?: boolean;
  /** The VAE's attention: group norm first, residual last. */
  readonly groupNorm?: { readonly groups: number; readonly eps: number };
}

export class Attention extends Module<[x: Tensor, conditioning?: Conditioning | undefined], Tensor> {
  group_norm?: GroupNorm;
  to_q: Linear;
  to_k: Linear;
  to_v: Linear;
  to_out: [Linear, Identity];
  strategy: AttentionStrategy = fusedAttention;
  readonly heads: number;
  readonly headDim: number;
  readonly upcast: boolean;
  /** True when keys and values come from the text, not from the layer's own input. */
  readonly isCross: boolean;

  constructor(o: AttentionOptions) {
    super();
    const inner = o.heads * o.headDim;
    const crossDim = o.crossDim ?? o.queryDim;
    const bias = o.bias ?? false;
    if (o.groupNorm) this.group_norm = new GroupNorm(o.groupNorm.groups, o.queryDim, o.groupNorm.eps);
    this.to_q = new Linear(o.queryDim, inner, { bias });
    this.to_k = new Linear(crossDim, inner, { bias });
    this.to_v = new Linear(crossDim, inner, { bias });
    this.to_out = [new Linear(inner, o.queryDim), new Identity()];
    this.heads = o.heads;
    this.headDim = o.headDim;
    this.upcast = o.upcast ?? false;
    this.isCross = o.crossDim !== undefined;
  }

  /** x [b, l, c] → [b, l, c]; cross-attention reads conditioning.encoderHiddenStates [b, s, crossDim]. */
  override forward(x: Tensor, conditioning?: Conditioning): Tensor {
    const source = this.isCross ? conditioning!.encoderHiddenStates : x;
    const [b, l] = x.shape as [number, number];
    const split = (t: Tensor): Tensor => {
      const heads = t.view([b, t.shape[1]!, this.heads, this.headDim]).permute(0, 2, 1, 3);
      return this.upcast ? cast(heads, 'float32') : heads;
    };
    const [q, k, v] = [
      split(this.to_q.call(x)),
      split(this.to_k.call(source)),
      split(this.to_v.call(source)),
    ];
    const merged = this.strategy.run(q, k, v, { scale: 1 / Math.sqrt(this.headDim) });
    const tokens = reshape(merged.permute(0, 2, 1, 3), [b, l, this.heads * this.headDim]);
    return this.to_out[0].call(cast(tokens, x.dtype));
  }
}

/** Attention over the pixels of an image, as the VAE's middle block has it: norm, attention, residual. */
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
