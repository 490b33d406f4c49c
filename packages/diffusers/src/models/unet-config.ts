// The configuration of UNet2DConditionModel: every key of the reference's class, with its defaults. Each key is
// supported as in the reference, or refused by name.

import type { Activation } from '@darkroom/core';
import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';
import { readTransformerLayers } from './transformer-layers.ts';
import type { TransformerLayers } from './transformer-layers.ts';

const downTypes = ['DownBlock2D', 'CrossAttnDownBlock2D'] as const;
const upTypes = ['UpBlock2D', 'CrossAttnUpBlock2D'] as const;
const midTypes = ['UNetMidBlock2DCrossAttn', 'UNetMidBlock2D'] as const;
const activationNames = ['silu', 'swish', 'gelu', 'relu'] as const;

/** The part of a UNet's config that pipelines read, also of a traced UNet or a user's own. */
export interface UNetConfig {
  /** Channels of the sample: of the latents, and of tensors concatenated to them (inpainting). */
  readonly inChannels: number;
  /** Channels of the prediction. */
  readonly outChannels: number;
  /** Training size in latents. */
  readonly sampleSize: readonly [height: number, width: number] | undefined;
  /** Channels by level, from the top; undefined if the config lacks them. */
  readonly blockOutChannels: readonly number[] | undefined;
  /** Width of the text hidden states. */
  readonly encoderWidth: number;
  /** Width of a distilled model's guidance embedding; undefined for models without one. */
  readonly timeCondProjDim: number | undefined;
  /** 'text_time' for models that read pooled text and time ids (SDXL). */
  readonly addition: 'text_time' | undefined;
  /** Features of one time id. */
  readonly additionTimeEmbedDim: number | undefined;
  /** Width of the input of the added time embedding: pooled text and the features of all time ids. */
  readonly projectionInputDim: number | undefined;
}

/**
 * The typed config of any UNet of a pipeline, with the reference's defaults. Read anew at each call: configs may be
 * edited.
 * @throws FormatError naming a key of a wrong type or out of range.
 */
export function unetConfig({ config }: { readonly config: ConfigRecord }): UNetConfig {
  return readCallConfig(new ConfigReader(config, 'unet config'));
}

function readCallConfig(c: ConfigReader): UNetConfig {
  const sample = c.optionalSize('sample_size', limits.edges);
  const channels = [limits.widths, limits.maxLevels] as const;
  return {
    inChannels: c.integer('in_channels', limits.widths, 4),
    outChannels: c.integer('out_channels', limits.widths, 4),
    sampleSize: sample && [sample[0]!, sample[1]!],
    blockOutChannels: c.has('block_out_channels') ? c.integers('block_out_channels', ...channels) : undefined,
    encoderWidth: c.has('encoder_hid_dim')
      ? c.integer('encoder_hid_dim', limits.joinedWidths)
      : c.firstInteger('cross_attention_dim', limits.widths, 1280),
    timeCondProjDim: c.optionalInteger('time_cond_proj_dim', limits.widths),
    addition: c.raw('addition_embed_type') === 'text_time' ? 'text_time' : undefined,
    additionTimeEmbedDim: c.optionalInteger('addition_time_embed_dim', limits.widths),
    projectionInputDim: c.optionalInteger('projection_class_embeddings_input_dim', limits.joinedWidths),
  };
}

/** The settings that a UNet2DConditionModel is built from. */
export interface UNetSettings extends BlockSettings, ConditionSettings {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly convInKernel: number;
  readonly convOutKernel: number;
  readonly centerInput: boolean;
}

interface BlockSettings {
  /** By level, from the top. */
  readonly channels: readonly number[];
  readonly layers: readonly number[];
  readonly heads: readonly number[];
  readonly crossDims: readonly number[];
  readonly onlyCross: readonly boolean[];
  readonly downAttention: readonly boolean[];
  /** In the order of the up blocks, the lowest level first. */
  readonly upAttention: readonly boolean[];
  readonly mid: 'cross' | 'plain' | 'none';
  readonly transformerLayers: TransformerLayers;
  /** Width of the text tokens; undefined if no block has attention. */
  readonly contextWidth: number | undefined;
  readonly linearProjection: boolean;
  readonly upcast: boolean;
  readonly groups: number;
  readonly eps: number;
  readonly downsamplePadding: number;
  readonly midScale: number;
  readonly timeShift: 'default' | 'scale_shift';
}

interface ConditionSettings {
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  readonly timeDim: number;
  readonly timeCondDim: number | undefined;
  readonly timestepPost: Activation | undefined;
  readonly timeEmbeddingActivation: Activation | undefined;
  readonly addition: 'text_time' | undefined;
  readonly additionTimeDim: number;
  readonly projectionInputDim: number | undefined;
  readonly classEmbedding: 'timestep' | 'identity' | 'projection' | 'simple_projection' | 'table' | undefined;
  readonly classCount: number | undefined;
  readonly classConcat: boolean;
  readonly encoderHidDim: number | undefined;
}

/** The settings of a UNet2DConditionModel. @throws FormatError naming the key that is wrong or not supported. */
export function readUNetConfig(config: ConfigRecord, source: string): UNetSettings {
  const c = new ConfigReader(config, source);
  const blocks = readBlocks(c);
  c.optionalSize('sample_size', limits.edges);
  const kernel = (key: string): number => {
    const size = c.integer(key, [1, 31], 3);
    return size % 2 === 1 ? size : c.fail(key, 'must be odd, so that pictures keep their size');
  };
  checkWithoutEffect(c);
  return {
    ...blocks,
    ...readConditions(c, blocks),
    inChannels: c.integer('in_channels', limits.widths, 4),
    outChannels: c.integer('out_channels', limits.widths, 4),
    convInKernel: kernel('conv_in_kernel'),
    convOutKernel: kernel('conv_out_kernel'),
    centerInput: c.boolean('center_input_sample', false),
  };
}

/** Checks the type of keys that only training or other kinds of blocks read, and that do not change results here. */
function checkWithoutEffect(c: ConfigReader): void {
  c.number('dropout', [0, 1], 0);
  c.boolean('mid_block_only_cross_attention', false);
  c.boolean('resnet_skip_time_act', false);
  if (c.has('resnet_out_scale_factor')) c.number('resnet_out_scale_factor', [-1e9, 1e9]);
  c.optionalInteger('addition_embed_type_num_heads', limits.widths);
  c.optionalChoice('cross_attention_norm', ['layer_norm', 'group_norm']);
}

function readBlocks(c: ConfigReader): BlockSettings {
  const defaults = { channels: [320, 640, 1280, 1280], types: [1, 1, 1, 0] };
  const channels = c.integers('block_out_channels', limits.widths, limits.maxLevels, defaults.channels);
  const n = channels.length;
  const crossTypes = defaults.types.map((cross) => downTypes[cross]!);
  const down = c.choices('down_block_types', downTypes, n, crossTypes);
  const upDefault = defaults.types.toReversed().map((cross) => upTypes[cross]!);
  const up = c.choices('up_block_types', upTypes, n, upDefault);
  const midName =
    c.raw('mid_block_type') === null ? undefined : c.choice('mid_block_type', midTypes, midTypes[0]);
  const mid = midName === undefined ? 'none' : midName === 'UNetMidBlock2D' ? 'plain' : 'cross';
  c.choice('act_fn', ['silu', 'swish'], 'silu');
  c.unsupported('dual_cross_attention', false);
  c.unsupported('attention_type', 'default');
  c.unsupported('num_attention_heads'); // the reference refuses it too: attention_head_dim holds the number of heads

  const downAttention = down.map((t) => t === 'CrossAttnDownBlock2D');
  const upAttention = up.map((t) => t === 'CrossAttnUpBlock2D');
  const layers = c.perBlock('layers_per_block', limits.layersOfLevel, n, 2);
  const heads = c.perBlock('attention_head_dim', limits.widths, n, 8);
  const crossDims = c.perBlock('cross_attention_dim', limits.widths, n, 1280);
  const groups = c.integer('norm_num_groups', limits.widths, 32);
  const attends = channels.map(
    (_, i) => downAttention[i]! || upAttention[n - 1 - i]! || (mid === 'cross' && i === n - 1),
  );
  for (const [i, width] of channels.entries()) {
    if (width % groups !== 0)
      c.fail('norm_num_groups', `must divide the channels of each block (${width} at block ${i})`);
    if (attends[i] && width % heads[i]! !== 0)
      c.fail('attention_head_dim', `must divide the channels of its block (${width} at block ${i})`);
  }
  const contextWidths = new Set(crossDims.filter((_, i) => attends[i]));
  if (contextWidths.size > 1)
    c.fail(
      'cross_attention_dim',
      'must be the same for all blocks with attention: they read the same tokens',
    );
  return {
    channels,
    layers,
    heads,
    crossDims,
    onlyCross: c.booleansPerBlock('only_cross_attention', n),
    downAttention,
    upAttention,
    mid,
    transformerLayers: readTransformerLayers(c, {
      down: layers.map((count, i) => (downAttention[i] ? count : 0)),
      mid: mid === 'cross' ? 1 : 0,
      up: layers.toReversed().map((count, i) => (upAttention[i] ? count + 1 : 0)),
    }),
    contextWidth: [...contextWidths][0],
    linearProjection: c.boolean('use_linear_projection', false),
    upcast: c.boolean('upcast_attention', false),
    groups,
    eps: c.number('norm_eps', limits.epsilons, 1e-5),
    downsamplePadding: c.integer('downsample_padding', [0, 1], 1),
    midScale: c.number('mid_block_scale_factor', limits.factors, 1),
    timeShift: c.choice('resnet_time_scale_shift', ['default', 'scale_shift'], 'default'),
  };
}

function readConditions(c: ConfigReader, { channels }: BlockSettings): ConditionSettings {
  const addition = c.optionalChoice('addition_embed_type', ['text_time']);
  const classType = c.optionalChoice('class_embed_type', [
    'timestep',
    'identity',
    'projection',
    'simple_projection',
  ]);
  const classCount = c.optionalInteger('num_class_embeds', limits.tableRows);
  const classEmbedding = classType ?? (classCount === undefined ? undefined : 'table');
  const classConcat = c.boolean('class_embeddings_concat', false);
  if (classConcat && (classEmbedding === undefined || addition !== undefined))
    c.fail('class_embeddings_concat', 'takes class embeddings, and no addition_embed_type');

  const projectionInputDim = c.optionalInteger('projection_class_embeddings_input_dim', limits.joinedWidths);
  const isProjected = classType === 'projection' || classType === 'simple_projection';
  if ((addition || isProjected) && projectionInputDim === undefined)
    c.fail('projection_class_embeddings_input_dim', 'must be given with these embeddings');

  const hidType = c.optionalChoice('encoder_hid_dim_type', ['text_proj']);
  const encoderHidDim = c.optionalInteger('encoder_hid_dim', limits.joinedWidths);
  if (hidType && encoderHidDim === undefined)
    c.fail('encoder_hid_dim', 'must be given with encoder_hid_dim_type');
  if (encoderHidDim !== undefined && Array.isArray(c.raw('cross_attention_dim')))
    c.fail('cross_attention_dim', 'must be one number beside encoder_hid_dim');

  c.choice('time_embedding_type', ['positional'], 'positional');
  const additionTimeDim = addition ? c.integer('addition_time_embed_dim', limits.widths) : 0;
  const freqShift = c.number('freq_shift', [-1000, 1000], 0);
  for (const width of addition ? [channels[0]!, additionTimeDim] : [channels[0]!])
    if (freqShift === Math.floor(width / 2) && width > 1)
      c.fail('freq_shift', `must not be half of an embedding's width (${width})`);
  const activation = (key: string): Activation | undefined => {
    const name = c.optionalChoice(key, activationNames);
    return name === 'swish' ? 'silu' : name;
  };
  return {
    flipSinToCos: c.boolean('flip_sin_to_cos', true),
    freqShift,
    timeDim: c.optionalInteger('time_embedding_dim', limits.joinedWidths) ?? channels[0]! * 4,
    timeCondDim: c.optionalInteger('time_cond_proj_dim', limits.widths),
    timestepPost: activation('timestep_post_act'),
    timeEmbeddingActivation: activation('time_embedding_act_fn'),
    addition,
    additionTimeDim,
    projectionInputDim,
    classEmbedding,
    classCount,
    classConcat,
    encoderHidDim,
  };
}
