// The configuration of UNet2DConditionModel: every key of the SD 1.x, 2.x and SDXL families, with diffusers' defaults.

import type { Activation } from '@darkroom/core';
import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';

const downTypes = ['DownBlock2D', 'CrossAttnDownBlock2D'] as const;
const upTypes = ['UpBlock2D', 'CrossAttnUpBlock2D'] as const;
const activationNames = ['silu', 'swish', 'gelu', 'relu'] as const;
export type ActivationName = (typeof activationNames)[number];

export const activationOf = (name: ActivationName): Activation => (name === 'swish' ? 'silu' : name);

export interface UNetSettings {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly channels: readonly number[];
  readonly downAttention: readonly boolean[];
  readonly upAttention: readonly boolean[];
  readonly mid: 'cross' | 'plain' | 'none';
  readonly layers: readonly number[];
  /** Heads of each level. */
  readonly heads: readonly number[];
  /** Transformer layers of each level going down, in the middle, and of each level going up. */
  readonly transformerLayers: readonly number[];
  readonly midTransformerLayers: number;
  readonly upTransformerLayers: readonly number[];
  readonly crossDims: readonly number[];
  readonly onlyCross: readonly boolean[];
  readonly midOnlyCross: boolean;
  readonly linearProjection: boolean;
  readonly upcast: boolean;
  readonly groups: number;
  readonly eps: number;
  readonly downsamplePadding: number;
  readonly midScale: number;
  readonly convInKernel: number;
  readonly convOutKernel: number;
  readonly centerInput: boolean;
  readonly timeShift: 'default' | 'scale_shift';
  readonly resnetOutScale: number;
  readonly skipTimeActivation: boolean;
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  readonly timeDim: number;
  readonly timeCondDim: number | undefined;
  readonly timestepPost: Activation | undefined;
  readonly timeEmbeddingActivation: Activation | undefined;
  readonly addition: 'text_time' | 'text' | undefined;
  readonly additionTimeDim: number;
  readonly additionHeads: number;
  readonly projectionInputDim: number | undefined;
  readonly classEmbedding: 'timestep' | 'identity' | 'projection' | 'simple_projection' | 'table' | undefined;
  readonly classCount: number | undefined;
  readonly classConcat: boolean;
  readonly encoderHidDim: number | undefined;
}

export function readUNetConfig(config: ConfigRecord, source: string): UNetSettings {
  const c = new ConfigReader(config, source);
  const channels = c.integers('block_out_channels', [320, 640, 1280, 1280]);
  const n = channels.length;
  const defaultDown = Array.from({ length: n }, (_, i) =>
    i === n - 1 ? 'DownBlock2D' : 'CrossAttnDownBlock2D',
  );
  const down =
    c.raw('down_block_types') === undefined ? defaultDown : c.choices('down_block_types', downTypes, n);
  const defaultUp = defaultDown.toReversed().map((t) => t.replace('Down', 'Up'));
  const up = c.raw('up_block_types') === undefined ? defaultUp : c.choices('up_block_types', upTypes, n);
  const midName =
    'mid_block_type' in config && config['mid_block_type'] === null
      ? 'none'
      : c.choice('mid_block_type', ['UNetMidBlock2DCrossAttn', 'UNetMidBlock2D'], 'UNetMidBlock2DCrossAttn');
  for (const key of [
    'dual_cross_attention',
    'cross_attention_norm',
    'attention_type',
    'time_embedding_type',
  ] as const) {
    c.unsupported(key, false, 'default', 'positional');
  }
  const groups = c.integer('norm_num_groups', 32);
  // Historic naming: attention_head_dim holds the number of heads unless num_attention_heads is given.
  const headsKey = c.raw('num_attention_heads') === undefined ? 'attention_head_dim' : 'num_attention_heads';
  const heads = c.perBlock(headsKey, n, 8);
  for (const [i, ch] of channels.entries()) {
    if (ch % heads[i]! !== 0) c.fail(headsKey, `must divide the channels of its block (${ch} at block ${i})`);
    if (ch % groups !== 0)
      c.fail('norm_num_groups', `must divide the channels of each block (${ch} at block ${i})`);
  }
  const onlyCross = c.booleansPerBlock('only_cross_attention', n);
  const layersRaw = c.raw('transformer_layers_per_block');
  const nested = Array.isArray(layersRaw) && layersRaw.some((v) => Array.isArray(v));
  if (nested) c.fail('transformer_layers_per_block', 'must be a number or a flat list');
  const transformerLayers = c.perBlock('transformer_layers_per_block', n, 1);
  const reversed = c.raw('reverse_transformer_layers_per_block');
  const upTransformerLayers =
    reversed === undefined
      ? transformerLayers.toReversed()
      : c.perBlock('reverse_transformer_layers_per_block', n, 1);
  const hidType = c.optionalChoice('encoder_hid_dim_type', ['text_proj']);
  const encoderHidDim = c.optionalInteger('encoder_hid_dim');
  if (hidType && encoderHidDim === undefined)
    c.fail('encoder_hid_dim', 'must be given with encoder_hid_dim_type');
  const classType = c.optionalChoice('class_embed_type', [
    'timestep',
    'identity',
    'projection',
    'simple_projection',
  ]);
  const classCount = c.optionalInteger('num_class_embeds');
  const projectionInputDim = c.optionalInteger('projection_class_embeddings_input_dim');
  const addition = c.optionalChoice('addition_embed_type', ['text_time', 'text']);
  const needsProjection =
    addition === 'text_time' || classType === 'projection' || classType === 'simple_projection';
  if (needsProjection && projectionInputDim === undefined) {
    c.fail('projection_class_embeddings_input_dim', 'must be given with these embeddings');
  }
  c.choice('act_fn', activationNames.slice(0, 2), 'silu');
  const activation = (key: string): Activation | undefined => {
    const name = c.optionalChoice(key, activationNames);
    return name && activationOf(name);
  };
  return {
    inChannels: c.integer('in_channels', 4),
    outChannels: c.integer('out_channels', 4),
    channels,
    downAttention: down.map((t) => t.startsWith('CrossAttn')),
    upAttention: up.map((t) => t.startsWith('CrossAttn')),
    mid: midName === 'none' ? 'none' : midName === 'UNetMidBlock2D' ? 'plain' : 'cross',
    layers: c.perBlock('layers_per_block', n, 2),
    heads,
    transformerLayers,
    midTransformerLayers: transformerLayers.at(-1)!,
    upTransformerLayers,
    crossDims: c.perBlock('cross_attention_dim', n, 1280),
    onlyCross,
    midOnlyCross: c.boolean(
      'mid_block_only_cross_attention',
      onlyCross.at(-1)! && c.raw('only_cross_attention') === true,
    ),
    linearProjection: c.boolean('use_linear_projection', false),
    upcast: c.boolean('upcast_attention', false),
    groups,
    eps: c.number('norm_eps', 1e-5),
    downsamplePadding: c.integer('downsample_padding', 1),
    midScale: c.number('mid_block_scale_factor', 1),
    convInKernel: c.integer('conv_in_kernel', 3),
    convOutKernel: c.integer('conv_out_kernel', 3),
    centerInput: c.boolean('center_input_sample', false),
    timeShift: c.choice('resnet_time_scale_shift', ['default', 'scale_shift'], 'default'),
    resnetOutScale: c.number('resnet_out_scale_factor', 1),
    skipTimeActivation: c.boolean('resnet_skip_time_act', false),
    flipSinToCos: c.boolean('flip_sin_to_cos', true),
    freqShift: c.number('freq_shift', 0),
    timeDim: c.optionalInteger('time_embedding_dim') ?? channels[0]! * 4,
    timeCondDim: c.optionalInteger('time_cond_proj_dim'),
    timestepPost: activation('timestep_post_act'),
    timeEmbeddingActivation: activation('time_embedding_act_fn'),
    addition,
    additionTimeDim: addition === 'text_time' ? c.integer('addition_time_embed_dim') : 0,
    additionHeads: c.integer('addition_embed_type_num_heads', 64),
    projectionInputDim,
    classEmbedding: classType ?? (classCount === undefined ? undefined : 'table'),
    classCount,
    classConcat: c.boolean('class_embeddings_concat', false),
    encoderHidDim,
  };
}
