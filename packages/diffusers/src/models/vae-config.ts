// The configuration of AutoencoderKL: every key of the reference's class, with its defaults, also keys that only
// pipelines read.

import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';

/** The part of a VAE's config that pipelines read beside VaeLike's own fields. */
export interface VaeConfig {
  readonly latentChannels: number;
  /** Mean and deviation of the latents by channel, for families whose latents are scaled with them. */
  readonly latentsMean: readonly number[] | undefined;
  readonly latentsStd: readonly number[] | undefined;
  /** Mean that is subtracted from latents before scaling; 0 for most families. */
  readonly shiftFactor: number;
  /** True: the VAE overflows in float16 and must decode in float32. */
  readonly forceUpcast: boolean;
}

/**
 * The typed config of any VAE of a pipeline, with the reference's defaults. Read anew at each call: configs may be
 * edited.
 * @throws FormatError naming a key of a wrong type or out of range.
 */
export function vaeConfig({ config }: { readonly config: ConfigRecord }): VaeConfig {
  return readLatentConfig(new ConfigReader(config, 'vae config'));
}

function readLatentConfig(c: ConfigReader): VaeConfig {
  const latentChannels = c.integer('latent_channels', limits.widths, 4);
  const latentsStd = c.optionalNumbers('latents_std', latentChannels);
  if (latentsStd?.some((v) => !(v > 0))) c.fail('latents_std', 'must hold numbers above 0');
  return {
    latentChannels,
    latentsMean: c.optionalNumbers('latents_mean', latentChannels),
    latentsStd,
    shiftFactor: c.has('shift_factor') ? c.number('shift_factor', [-1e9, 1e9]) : 0,
    forceUpcast: c.boolean('force_upcast', true),
  };
}

/** The settings that an AutoencoderKL is built from. */
export interface VaeSettings extends VaeConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly channels: readonly number[];
  readonly layers: number;
  readonly groups: number;
  readonly midAttention: boolean;
  readonly quantConv: boolean;
  readonly postQuantConv: boolean;
  readonly scalingFactor: number;
  /** Edge of the training pictures in pixels. */
  readonly sampleSize: number;
}

/** The settings of an AutoencoderKL. @throws FormatError naming the key that is wrong or not supported. */
export function readVaeConfig(config: ConfigRecord, source: string): VaeSettings {
  const c = new ConfigReader(config, source);
  const channels = c.integers('block_out_channels', limits.widths, limits.maxLevels, [64]);
  const groups = c.integer('norm_num_groups', limits.widths, 32);
  for (const ch of channels)
    if (ch % groups !== 0) c.fail('norm_num_groups', `must divide the channels of each block (${ch})`);
  c.choices('down_block_types', ['DownEncoderBlock2D'], channels.length, ['DownEncoderBlock2D']);
  c.choices('up_block_types', ['UpDecoderBlock2D'], channels.length, ['UpDecoderBlock2D']);
  c.choice('act_fn', ['silu', 'swish'], 'silu');
  return {
    ...readLatentConfig(c),
    inChannels: c.integer('in_channels', limits.widths, 3),
    outChannels: c.integer('out_channels', limits.widths, 3),
    channels,
    layers: c.integer('layers_per_block', limits.layersOfLevel, 1),
    groups,
    midAttention: c.boolean('mid_block_add_attention', true),
    quantConv: c.boolean('use_quant_conv', true),
    postQuantConv: c.boolean('use_post_quant_conv', true),
    scalingFactor: c.number('scaling_factor', limits.factors, 0.18215),
    sampleSize: c.perBlock('sample_size', limits.edges, 2, 32)[0]!,
  };
}
