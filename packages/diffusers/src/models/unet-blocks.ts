// The down, middle and up blocks of the UNet. Up blocks take the skips of the down blocks in reverse order.

import { concat, Module, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { Conditioning } from './conditioning.ts';
import { Downsample2D, ResnetBlock2D, Upsample2D } from './resnet.ts';
import type { ResnetOptions } from './resnet.ts';
import { Transformer2DModel } from './transformer2d.ts';
import type { TransformerOptions } from './transformer2d.ts';

/** The settings that all residual blocks of a UNet share. */
export type ResnetSettings = Omit<ResnetOptions, 'inChannels' | 'outChannels'>;
/** The settings that a block's transformers share; undefined in blocks without attention. */
export type TransformerSettings = Omit<TransformerOptions, 'channels' | 'layers'>;

/** The result of a down block. */
export interface DownOutput {
  readonly hidden: Tensor;
  /** The output of each layer, then of the downsampler. */
  readonly skips: readonly Tensor[];
}

export class DownBlock2D extends Module<[x: Tensor, time: Tensor, conditioning: Conditioning], DownOutput> {
  resnets: ResnetBlock2D[];
  attentions?: Transformer2DModel[];
  downsamplers?: Downsample2D[];

  constructor(o: {
    inChannels: number;
    outChannels: number;
    layers: number;
    resnet: ResnetSettings;
    transformer: TransformerSettings | undefined;
    /** Of each transformer. */
    transformerLayers: readonly number[];
    downsample: boolean;
    padding: number;
  }) {
    super();
    const { outChannels: channels, transformer } = o;
    if (transformer)
      this.attentions = o.transformerLayers.map(
        (layers) => new Transformer2DModel({ ...transformer, channels, layers }),
      );
    this.resnets = Array.from(
      { length: o.layers },
      (_, i) =>
        new ResnetBlock2D({
          ...o.resnet,
          inChannels: i === 0 ? o.inChannels : channels,
          outChannels: channels,
        }),
    );
    if (o.downsample) this.downsamplers = [new Downsample2D(channels, o.padding)];
  }

  override forward(x: Tensor, time: Tensor, conditioning: Conditioning): DownOutput {
    let hidden = x;
    const skips: Tensor[] = [];
    for (const [i, resnet] of this.resnets.entries()) {
      const input = hidden;
      hidden = scope(() => {
        const h = resnet.call(input, time);
        return this.attentions ? this.attentions[i]!.call(h, conditioning) : h;
      });
      skips.push(hidden);
    }
    for (const down of this.downsamplers ?? []) skips.push((hidden = down.call(hidden)));
    return { hidden, skips };
  }
}

export class UpBlock2D extends Module<
  [
    x: Tensor,
    skips: Tensor[],
    time: Tensor,
    conditioning: Conditioning,
    size?: readonly [number, number] | undefined,
  ],
  Tensor
> {
  resnets: ResnetBlock2D[];
  attentions?: Transformer2DModel[];
  upsamplers?: Upsample2D[];

  constructor(o: {
    /** Channels of the input. */
    previousChannels: number;
    outChannels: number;
    inChannels: number;
    layers: number;
    resnet: ResnetSettings;
    transformer: TransformerSettings | undefined;
    /** Of each transformer. */
    transformerLayers: readonly number[];
    upsample: boolean;
  }) {
    super();
    const { outChannels: channels, transformer } = o;
    if (transformer)
      this.attentions = o.transformerLayers.map(
        (layers) => new Transformer2DModel({ ...transformer, channels, layers }),
      );
    this.resnets = Array.from({ length: o.layers }, (_, i) => {
      const skip = i === o.layers - 1 ? o.inChannels : channels;
      const from = i === 0 ? o.previousChannels : channels;
      return new ResnetBlock2D({ ...o.resnet, inChannels: from + skip, outChannels: channels });
    });
    if (o.upsample) this.upsamplers = [new Upsample2D(channels)];
  }

  /** Removes its skips from the end of `skips` and disposes each after its use. */
  override forward(
    x: Tensor,
    skips: Tensor[],
    time: Tensor,
    conditioning: Conditioning,
    size?: readonly [number, number],
  ): Tensor {
    let hidden = x;
    for (const [i, resnet] of this.resnets.entries()) {
      const [input, skip] = [hidden, skips.pop()!];
      hidden = scope(() => {
        const joined = concat([input, skip], 1);
        skip.dispose();
        const h = resnet.call(joined, time);
        joined.dispose();
        return this.attentions ? this.attentions[i]!.call(h, conditioning) : h;
      });
      if (input !== x) input.dispose();
    }
    for (const up of this.upsamplers ?? []) hidden = up.call(hidden, size);
    return hidden;
  }
}

export class UNetMidBlock2D extends Module<[x: Tensor, time: Tensor, conditioning: Conditioning], Tensor> {
  attentions?: Transformer2DModel[];
  resnets: ResnetBlock2D[];

  constructor(o: {
    channels: number;
    resnet: ResnetSettings;
    transformer: TransformerSettings | undefined;
    transformerLayers: number;
  }) {
    super();
    const { channels, transformer, transformerLayers: layers } = o;
    if (transformer) this.attentions = [new Transformer2DModel({ ...transformer, channels, layers })];
    this.resnets = Array.from(
      { length: transformer ? 2 : 1 },
      () => new ResnetBlock2D({ ...o.resnet, inChannels: channels, outChannels: channels }),
    );
  }

  override forward(x: Tensor, time: Tensor, conditioning: Conditioning): Tensor {
    let hidden = this.resnets[0]!.call(x, time);
    for (const [i, resnet] of this.resnets.slice(1).entries()) {
      const input = hidden;
      hidden = scope(() =>
        resnet.call(this.attentions ? this.attentions[i]!.call(input, conditioning) : input, time),
      );
      input.dispose();
    }
    return hidden;
  }
}
