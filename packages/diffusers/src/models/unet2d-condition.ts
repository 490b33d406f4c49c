// UNet2DConditionModel: the denoiser of SD 1.x, 2.x and SDXL. Reference: diffusers' class of the same name.

import {
  activations,
  add,
  ArgumentError,
  cast,
  concat,
  map,
  nn,
  reshape,
  scope,
  silu,
  tensor,
} from '@darkroom/core';
import type { Conv2d, Embedding, GroupNorm, Linear, Tensor } from '@darkroom/core';
import type { Conditioning } from './conditioning.ts';
import type { ConfigRecord } from './config.ts';
import { TimestepEmbedding, timestepEmbedding, timestepTensor } from './embeddings.ts';
import { checkParameterCount } from './limits.ts';
import { ModelWithAttention } from './model-with-attention.ts';
import { DownBlock2D, UNetMidBlock2D, UpBlock2D } from './unet-blocks.ts';
import type { ResnetSettings, TransformerSettings } from './unet-blocks.ts';
import { readUNetConfig } from './unet-config.ts';
import type { UNetSettings } from './unet-config.ts';

/** The result of a UNet's call. */
export interface UNetOutput {
  /** [n, out_channels, h, w]. */
  readonly sample: Tensor;
}

type Forward = [sample: Tensor, timestep: number | readonly number[] | Tensor, conditioning: Conditioning];

/** The UNet of SD 1.x, 2.x and SDXL. Reference: diffusers' class of the same name. */
export class UNet2DConditionModel extends ModelWithAttention<Forward, UNetOutput> {
  conv_in: Conv2d;
  time_embedding: TimestepEmbedding;
  encoder_hid_proj?: Linear;
  class_embedding?: TimestepEmbedding | Embedding | Linear;
  add_embedding?: TimestepEmbedding;
  down_blocks: DownBlock2D[];
  mid_block?: UNetMidBlock2D;
  up_blocks: UpBlock2D[];
  conv_norm_out: GroupNorm;
  conv_out: Conv2d;
  readonly config: ConfigRecord;
  readonly #settings: UNetSettings;

  /**
   * A model without weights. `source` names the config file in messages.
   * @throws FormatError for a bad or unknown value.
   */
  static fromConfig(config: ConfigRecord, source = 'unet config'): UNet2DConditionModel {
    const model = new UNet2DConditionModel(config, readUNetConfig(config, source));
    return checkParameterCount(model, source, 'block_out_channels and the other widths');
  }

  private constructor(config: ConfigRecord, s: UNetSettings) {
    super();
    this.name = 'unet';
    this.config = config;
    this.#settings = s;
    const { channels } = s;
    const n = channels.length;
    const [first, last] = [channels[0]!, channels[n - 1]!];
    this.conv_in = nn.conv2d(s.inChannels, first, s.convInKernel, { padding: (s.convInKernel - 1) / 2 });
    this.time_embedding = new TimestepEmbedding(first, s.timeDim, {
      conditionSize: s.timeCondDim,
      post: s.timestepPost,
    });
    if (s.encoderHidDim !== undefined) this.encoder_hid_proj = nn.linear(s.encoderHidDim, s.crossDims[0]!);
    this.#buildConditioning(s, first);
    const timeDim = s.classConcat ? s.timeDim * 2 : s.timeDim;
    const resnet: ResnetSettings = {
      timeDim,
      groups: s.groups,
      eps: s.eps,
      timeScaleShift: s.timeShift,
      skipTimeActivation: true, // activated once for all blocks, in forward
    };
    const transformer = (level: number, onlyCross: boolean): TransformerSettings => ({
      heads: s.heads[level]!,
      headDim: channels[level]! / s.heads[level]!,
      crossDim: s.crossDims[level]!,
      linearProjection: s.linearProjection,
      onlyCross,
      upcast: s.upcast,
      groups: s.groups,
    });
    this.down_blocks = channels.map(
      (outChannels, i) =>
        new DownBlock2D({
          inChannels: channels[Math.max(0, i - 1)]!,
          outChannels,
          layers: s.layers[i]!,
          resnet,
          transformer: s.downAttention[i] ? transformer(i, s.onlyCross[i]!) : undefined,
          transformerLayers: s.transformerLayers.down[i]!,
          downsample: i < n - 1,
          padding: s.downsamplePadding,
        }),
    );
    if (s.mid !== 'none') {
      this.mid_block = new UNetMidBlock2D({
        channels: last,
        resnet: { ...resnet, outputScale: s.midScale },
        transformer: s.mid === 'cross' ? transformer(n - 1, false) : undefined,
        transformerLayers: s.transformerLayers.mid,
      });
    }
    this.up_blocks = channels.toReversed().map((outChannels, i) => {
      const level = n - 1 - i;
      return new UpBlock2D({
        previousChannels: channels[Math.min(n - 1, level + 1)]!,
        outChannels,
        inChannels: channels[Math.max(0, level - 1)]!,
        layers: s.layers[level]! + 1,
        resnet,
        transformer: s.upAttention[i] ? transformer(level, s.onlyCross[level]!) : undefined,
        transformerLayers: s.transformerLayers.up[i]!,
        upsample: i < n - 1,
      });
    });
    this.conv_norm_out = nn.groupNorm(s.groups, first, s.eps);
    this.conv_out = nn.conv2d(first, s.outChannels, s.convOutKernel, { padding: (s.convOutKernel - 1) / 2 });
  }

  #buildConditioning(s: UNetSettings, first: number): void {
    switch (s.classEmbedding) {
      case 'table':
        this.class_embedding = nn.embedding(s.classCount!, s.timeDim);
        break;
      case 'timestep':
        this.class_embedding = new TimestepEmbedding(first, s.timeDim);
        break;
      case 'projection':
        this.class_embedding = new TimestepEmbedding(s.projectionInputDim!, s.timeDim);
        break;
      case 'simple_projection':
        this.class_embedding = nn.linear(s.projectionInputDim!, s.timeDim);
        break;
      default:
        break;
    }
    if (s.addition === 'text_time')
      this.add_embedding = new TimestepEmbedding(s.projectionInputDim!, s.timeDim);
  }

  /**
   * sample [n, in_channels, h, w], timestep one value or n, encoderHiddenStates [n, tokens, cross_attention_dim]
   * → { sample: [n, out_channels, h, w] } in the dtype of the sample.
   * @throws ArgumentError for other shapes, and for a missing condition that the model needs
   */
  override forward(...[sample, timestep, given]: Forward): UNetOutput {
    const s = this.#settings;
    this.#check(sample, given);
    const time = scope(() => silu(this.#timeEmbedding(sample, timestep, given)));
    const conditioning = this.encoder_hid_proj
      ? { ...given, encoderHiddenStates: this.encoder_hid_proj.call(given.encoderHiddenStates) }
      : given;
    const input = s.centerInput ? map(['sub', ['mul', 2, ['in', 0]], 1], [sample]) : sample;
    let hidden = this.conv_in.call(input);
    const skips = [hidden];
    for (const block of this.down_blocks) {
      const out = block.call(hidden, time, conditioning);
      skips.push(...out.skips);
      ({ hidden } = out);
    }
    if (this.mid_block) hidden = this.mid_block.call(hidden, time, conditioning);
    for (const block of this.up_blocks) {
      // Upsample to the size of the next level's skip: latents need not divide evenly.
      const next = skips[skips.length - 1 - block.resnets.length];
      const size = next && ([next.shape[2]!, next.shape[3]!] as const);
      const from = hidden;
      hidden = block.call(from, skips, time, conditioning, size);
      from.dispose();
    }
    const normed = this.conv_norm_out.call(hidden, 'silu');
    hidden.dispose();
    return { sample: this.conv_out.call(normed) };
  }

  #check(sample: Tensor, { encoderHiddenStates: text }: Conditioning): void {
    const { inChannels, contextWidth, encoderHidDim } = this.#settings;
    if (sample.rank !== 4 || sample.shape[1] !== inChannels) {
      throw new ArgumentError(`sample must be [n,${inChannels},h,w], got [${sample.shape}]`);
    }
    const width = encoderHidDim ?? contextWidth ?? text.shape[2];
    if (text.rank !== 3 || text.shape[2] !== width || text.shape[0] !== sample.shape[0]) {
      throw new ArgumentError(
        `encoder hidden states must be [${sample.shape[0]},tokens,${width}], got [${text.shape}]`,
      );
    }
  }

  /** `[n, timeDim]`: timestep, class and added conditions, in the dtype of the sample. */
  #timeEmbedding(
    sample: Tensor,
    timestep: number | readonly number[] | Tensor,
    { timestepCond, classLabels, addedCond }: Conditioning,
  ): Tensor {
    const s = this.#settings;
    const [n] = sample.shape as [number];
    const sinusoid = { flipSinToCos: s.flipSinToCos, freqShift: s.freqShift };
    const t = timestepTensor(timestep, n, sample.deviceOrNone);
    const features = cast(timestepEmbedding(t, s.channels[0]!, sinusoid), sample.dtype);
    let time = this.time_embedding.call(features, timestepCond);
    const classes = this.#classEmbedding(n, sample, classLabels, sinusoid);
    if (classes) time = s.classConcat ? concat([time, classes], 1) : add(time, classes);
    if (s.addition === 'text_time') {
      if (!addedCond) throw new ArgumentError('this model needs addedCond: { textEmbeds, timeIds } (SDXL)');
      const { textEmbeds, timeIds } = addedCond;
      const ids = timestepEmbedding(reshape(timeIds, [-1]), s.additionTimeDim, sinusoid);
      const joined = concat([cast(textEmbeds, sample.dtype), cast(reshape(ids, [n, -1]), sample.dtype)], 1);
      time = add(time, this.add_embedding!.call(joined));
    }
    return s.timeEmbeddingActivation ? map(activations[s.timeEmbeddingActivation](['in', 0]), [time]) : time;
  }

  #classEmbedding(
    n: number,
    sample: Tensor,
    labels: readonly number[] | Tensor | undefined,
    sinusoid: { flipSinToCos: boolean; freqShift: number },
  ): Tensor | undefined {
    const kind = this.#settings.classEmbedding;
    if (kind === undefined) return undefined;
    if (labels === undefined) throw new ArgumentError('this model needs classLabels');
    const isTensor = 'layout' in labels;
    const table = this.class_embedding;
    if (kind === 'table') {
      const ids = isTensor ? labels : tensor(labels, { dtype: 'int32', device: sample.device });
      return cast((table as Embedding).call(ids), sample.dtype);
    }
    const values = isTensor ? labels : tensor(labels, { device: sample.device });
    if (kind === 'identity') return cast(values, sample.dtype);
    if (kind === 'timestep') {
      const features = timestepEmbedding(
        timestepTensor(values, n, sample.device),
        this.#settings.channels[0]!,
        sinusoid,
      );
      return (table as TimestepEmbedding).call(cast(features, sample.dtype));
    }
    return (table as TimestepEmbedding | Linear).call(cast(values, sample.dtype));
  }
}
