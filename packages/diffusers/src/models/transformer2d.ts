// The spatial transformer of the UNet: image → tokens → blocks of self-attention, cross-attention, feed-forward →
// image.

import { add, geglu, Linear, Module, nn, reshape, scope } from '@darkroom/core';
import type { Conv2d, GroupNorm, LayerNorm, Tensor } from '@darkroom/core';
import { Attention } from './attention.ts';
import type { Conditioning } from './conditioning.ts';
import { Identity } from './identity.ts';

/** Projects to 2·inner features; the first half times gelu of the second. */
class GEGLU extends Module<[x: Tensor], Tensor> {
  proj: Linear;

  constructor(size: number, inner: number) {
    super();
    this.proj = nn.linear(size, 2 * inner);
  }
  override forward(x: Tensor): Tensor {
    return geglu(this.proj.call(x));
  }
}

class FeedForward extends Module<[x: Tensor], Tensor> {
  net: [GEGLU, Identity, Linear];

  constructor(size: number) {
    super();
    this.net = [new GEGLU(size, 4 * size), new Identity(), nn.linear(4 * size, size)];
  }
  override forward(x: Tensor): Tensor {
    return this.net[2].call(this.net[0].call(x));
  }
}

/** Sizes of a spatial transformer. */
export interface TransformerOptions {
  readonly channels: number;
  readonly heads: number;
  readonly headDim: number;
  readonly crossDim: number;
  readonly layers: number;
  readonly linearProjection: boolean;
  readonly onlyCross: boolean;
  readonly upcast: boolean;
  readonly groups: number;
}

class BasicTransformerBlock extends Module<[x: Tensor, conditioning: Conditioning], Tensor> {
  norm1: LayerNorm;
  attn1: Attention;
  norm2: LayerNorm;
  attn2: Attention;
  norm3: LayerNorm;
  ff: FeedForward;

  constructor(size: number, o: TransformerOptions) {
    super();
    const common = { queryDim: size, heads: o.heads, headDim: o.headDim, upcast: o.upcast };
    this.norm1 = nn.layerNorm(size);
    this.attn1 = new Attention({ ...common, crossDim: o.onlyCross ? o.crossDim : undefined });
    this.norm2 = nn.layerNorm(size);
    this.attn2 = new Attention({ ...common, crossDim: o.crossDim });
    this.norm3 = nn.layerNorm(size);
    this.ff = new FeedForward(size);
  }

  /** x [n, l, size] → [n, l, size]. */
  override forward(x: Tensor, conditioning: Conditioning): Tensor {
    const a = scope(() => add(this.attn1.call(this.norm1.call(x), conditioning), x));
    const b = scope(() => add(this.attn2.call(this.norm2.call(a), conditioning), a));
    a.dispose();
    return add(this.ff.call(this.norm3.call(b)), b);
  }
}

export class Transformer2DModel extends Module<[x: Tensor, conditioning: Conditioning], Tensor> {
  norm: GroupNorm;
  proj_in: Linear | Conv2d;
  transformer_blocks: BasicTransformerBlock[];
  proj_out: Linear | Conv2d;

  constructor(o: TransformerOptions) {
    super();
    const inner = o.heads * o.headDim;
    const project = (from: number, to: number): Linear | Conv2d =>
      o.linearProjection ? nn.linear(from, to) : nn.conv2d(from, to, 1);
    this.norm = nn.groupNorm(o.groups, o.channels, 1e-6);
    this.proj_in = project(o.channels, inner);
    this.transformer_blocks = Array.from({ length: o.layers }, () => new BasicTransformerBlock(inner, o));
    this.proj_out = project(inner, o.channels);
  }

  /** x [n, c, h, w] → [n, c, h, w]; cross-attention reads conditioning.encoderHiddenStates [n, s, crossDim]. */
  override forward(x: Tensor, conditioning: Conditioning): Tensor {
    const [n, , h, w] = x.shape as [number, number, number, number];
    const toTokens = (t: Tensor): Tensor => reshape(t.permute(0, 2, 3, 1), [n, h * w, t.shape[1]!]);
    const toImage = (t: Tensor): Tensor => t.view([n, h, w, t.shape[2]!]).permute(0, 3, 1, 2);
    let tokens = scope(() => {
      const normed = this.norm.call(x);
      return this.proj_in instanceof Linear
        ? this.proj_in.call(toTokens(normed))
        : toTokens(this.proj_in.call(normed));
    });
    for (const block of this.transformer_blocks) {
      const next = block.call(tokens, conditioning);
      tokens.dispose();
      tokens = next;
    }
    if (this.proj_out instanceof Linear) return add(x, toImage(this.proj_out.call(tokens)));
    return this.proj_out.call(toImage(tokens), { residual: x });
  }
}
