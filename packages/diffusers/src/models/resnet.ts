// The residual block of UNet and VAE, and the resamplers between levels.

import { map, Module, nn, resize, scope, silu } from '@darkroom/core';
import type { Activation, Conv2d, GroupNorm, Linear, Tensor } from '@darkroom/core';

/** Sizes and variants of a residual block. */
export interface ResnetOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  /** Width of the time embedding; none in the VAE. */
  readonly timeDim?: number | undefined;
  readonly groups: number;
  readonly eps: number;
  readonly activation?: Activation;
  readonly timeScaleShift?: 'default' | 'scale_shift';
  /** True: the time embedding is already activated. */
  readonly skipTimeActivation?: boolean;
  readonly outputScale?: number;
}

/** norm, activation, conv, time, norm, activation, conv, residual. */
export class ResnetBlock2D extends Module<[x: Tensor, time?: Tensor | undefined], Tensor> {
  norm1: GroupNorm;
  conv1: Conv2d;
  time_emb_proj?: Linear;
  norm2: GroupNorm;
  conv2: Conv2d;
  conv_shortcut?: Conv2d;
  readonly #options: ResnetOptions;

  constructor(o: ResnetOptions) {
    super();
    const scaleShift = o.timeScaleShift === 'scale_shift';
    this.#options = o;
    this.norm1 = nn.groupNorm(o.groups, o.inChannels, o.eps);
    this.conv1 = nn.conv2d(o.inChannels, o.outChannels, 3, { padding: 1 });
    if (o.timeDim !== undefined)
      this.time_emb_proj = nn.linear(o.timeDim, o.outChannels * (scaleShift ? 2 : 1));
    this.norm2 = nn.groupNorm(o.groups, o.outChannels, o.eps);
    this.conv2 = nn.conv2d(o.outChannels, o.outChannels, 3, { padding: 1 });
    if (o.inChannels !== o.outChannels) this.conv_shortcut = nn.conv2d(o.inChannels, o.outChannels, 1);
  }

  /** x [n, in, h, w], time [n, timeDim] → [n, out, h, w]. */
  override forward(x: Tensor, time?: Tensor): Tensor {
    const { outputScale = 1, timeScaleShift = 'default' } = this.#options;
    const hidden = scope(() => {
      const projected =
        time && this.time_emb_proj?.call(this.#options.skipTimeActivation ? time : silu(time));
      const t = projected?.view([...projected.shape, 1, 1]);
      const early = timeScaleShift === 'default' ? t : undefined;
      const normed = this.norm1.call(x, 'silu');
      const h = this.conv1.call(normed, { residual: early });
      normed.dispose(); // the peak of a decode's memory is here
      if (!t || early) return this.norm2.call(h, 'silu');
      const [scale, shift] = t.chunk(2, 1) as [Tensor, Tensor];
      return map(siluOfScaleShift, [this.norm2.call(h), scale, shift], { dtype: h.dtype });
    });
    const shortcut = this.conv_shortcut ? this.conv_shortcut.call(x) : x;
    const out = this.conv2.call(hidden, { residual: shortcut });
    return outputScale === 1 ? out : map(['div', ['in', 0], outputScale], [out]);
  }
}

/** silu(x · (1 + scale) + shift) */
const shifted = ['add', ['mul', ['in', 0], ['add', 1, ['in', 1]]], ['in', 2]] as const;
const siluOfScaleShift = ['mul', shifted, ['sigmoid', shifted]] as const;

/**
 * Halves height and width by a convolution. Padding 0 (VAE): one row of zeros at the bottom and one column at the
 * right.
 */
export class Downsample2D extends Module<[x: Tensor], Tensor> {
  conv: Conv2d;

  constructor(channels: number, padding: number) {
    super();
    this.conv = nn.conv2d(channels, channels, 3, {
      stride: 2,
      padding: padding === 0 ? [0, 1, 0, 1] : padding,
    });
  }

  override forward(x: Tensor): Tensor {
    return this.conv.call(x);
  }
}

/** Doubles height and width (or goes to `size`) by nearest neighbours, then a convolution. */
export class Upsample2D extends Module<[x: Tensor, size?: readonly [number, number] | undefined], Tensor> {
  conv: Conv2d;

  constructor(channels: number) {
    super();
    this.conv = nn.conv2d(channels, channels, 3, { padding: 1 });
  }

  override forward(x: Tensor, size?: readonly [number, number]): Tensor {
    const [, , h, w] = x.shape as [number, number, number, number];
    return this.conv.call(resize(x, size ?? [2 * h, 2 * w]));
  }
}
