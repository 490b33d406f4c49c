// The configuration of AutoencoderKL: every key of the reference's class, with its defaults; those that only pipelines
// read are checked here too.

import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';

export interface VaeSettings {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly latentChannels: number;
  readonly channels: readonly number[];
  readonly layers: number;
  readonly groups: number;
  readonly midAttention: boolean;
  readonly quantConv: boolean;
  readonly postQuantConv: boolean;
  readonly scalingFactor: number;
  /** Edge in pixels of the pictures it was trained on. */
  readonly sampleSize: number;
}

export function readVaeConfig(config: ConfigRecord, source: string): VaeSettings {
  const c = new ConfigReader(config, source);
  const channels = c.integers('block_out_channels', limits.widths, limits.maxLevels, [64]);
  const groups = c.integer('norm_num_groups', limits.widths, 32);
  for (const ch of channels)
    if (ch % groups !== 0) c.fail('norm_num_groups', `must divide the channels of each block (${ch})`);
  c.choices('down_block_types', ['DownEncoderBlock2D'], channels.length, ['DownEncoderBlock2D']);
  c.choices('up_block_types', ['UpDecoderBlock2D'], channels.length, ['UpDecoderBlock2D']);
  c.choice('act_fn', ['silu', 'swish'], 'silu');
  const latentChannels = c.integer('latent_channels', limits.widths, 4);
  // Read by the pipelines.
  c.optionalNumbers('latents_mean', latentChannels);
  if (c.optionalNumbers('latents_std', latentChannels)?.some((v) => !(v > 0)))
    c.fail('latents_std', 'must hold numbers above 0');
  if (c.has('shift_factor')) c.number('shift_factor', [-1e9, 1e9]);
  c.boolean('force_upcast', true);
  return {
    inChannels: c.integer('in_channels', limits.widths, 3),
    outChannels: c.integer('out_channels', limits.widths, 3),
    latentChannels,
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
