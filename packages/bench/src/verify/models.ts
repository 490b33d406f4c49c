// Stable Diffusion 1.5 by its configuration, with random weights: what is timed. And the same parts at a tiny size, so
// that the timing code itself runs on an emulated device.

import type { Device, DType } from '@darkroom/core';
import type { Precision } from '@darkroom/core/backend';
import {
  AutoencoderKL,
  CLIPTextModel,
  clipTokenizerFromFiles,
  openModel,
  schedulerFromConfig,
  StableDiffusionPipeline,
  UNet2DConditionModel,
} from '@darkroom/diffusers';
import { randomWeights } from '../random-weights.ts';
import { sd15UNet } from '../sd15.ts';

export interface Sizes {
  readonly unet: Readonly<Record<string, unknown>>;
  readonly vae: Readonly<Record<string, unknown>>;
  readonly text: Readonly<Record<string, unknown>>;
  /** Side of the latents. */
  readonly latent: number;
  readonly contextSize: number;
  readonly steps: number;
}

const clip = {
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  max_position_embeddings: 77,
  bos_token_id: 0,
  eos_token_id: 2,
  pad_token_id: 1,
} as const;
const vaeRest = {
  act_fn: 'silu',
  in_channels: 3,
  out_channels: 3,
  latent_channels: 4,
  scaling_factor: 0.18215,
} as const;

export const sizes: Readonly<Record<'full' | 'tiny', Sizes>> = {
  full: {
    unet: sd15UNet,
    vae: {
      ...vaeRest,
      block_out_channels: [128, 256, 512, 512],
      down_block_types: Array<string>(4).fill('DownEncoderBlock2D'),
      up_block_types: Array<string>(4).fill('UpDecoderBlock2D'),
      layers_per_block: 2,
      norm_num_groups: 32,
      sample_size: 512,
    },
    text: {
      ...clip,
      hidden_size: 768,
      intermediate_size: 3072,
      num_attention_heads: 12,
      num_hidden_layers: 12,
      projection_dim: 768,
      vocab_size: 49408,
    },
    latent: 64,
    contextSize: 768,
    steps: 50,
  },
  tiny: {
    unet: {
      ...sd15UNet,
      attention_head_dim: 2,
      block_out_channels: [16, 32],
      cross_attention_dim: 32,
      down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
      up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
      layers_per_block: 1,
      norm_num_groups: 8,
      sample_size: 8,
    },
    vae: {
      ...vaeRest,
      block_out_channels: [16, 16],
      down_block_types: Array<string>(2).fill('DownEncoderBlock2D'),
      up_block_types: Array<string>(2).fill('UpDecoderBlock2D'),
      layers_per_block: 1,
      norm_num_groups: 8,
      sample_size: 16,
    },
    text: {
      ...clip,
      hidden_size: 32,
      intermediate_size: 64,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      projection_dim: 32,
      // The tokenizer is the small model's.
      vocab_size: 2000,
    },
    latent: 8,
    contextSize: 32,
    steps: 2,
  },
};

export interface Mode {
  readonly name: string;
  readonly dtype: DType;
  readonly precision: Precision;
  readonly format: 'contiguous' | 'channelsLast';
}

export type ModeName = 'float16' | 'tf32' | 'float32';

const channelsLast = { format: 'channelsLast' } as const;
export const modes: Readonly<Record<ModeName, Mode>> = {
  float16: { name: 'float16', dtype: 'float16', precision: 'float32', ...channelsLast },
  tf32: { name: 'tf32', dtype: 'float32', precision: 'tf32', ...channelsLast },
  float32: { name: 'float32', dtype: 'float32', precision: 'float32', ...channelsLast },
};

/** Sets the device's precision of float32 products (float32 or tf32) to the mode's, for all later calls. */
export function usePrecision(device: Device, { precision }: Mode): void {
  device.precision.matmul = precision;
  device.precision.conv2d = precision;
}

interface Models {
  readonly unet: UNet2DConditionModel;
  readonly vae: AutoencoderKL;
  readonly text: CLIPTextModel;
}
const fromConfig: { readonly [K in keyof Models]: (size: Sizes) => Models[K] } = {
  unet: (s) => UNet2DConditionModel.fromConfig(s.unet, 'SD 1.5'),
  vae: (s) => AutoencoderKL.fromConfig(s.vae, 'SD 1.5'),
  text: (s) => CLIPTextModel.fromConfig(s.text, 'SD 1.5'),
};

/** One model with random weights in the mode's dtype and format. */
export async function build<K extends keyof Models>(
  kind: K,
  size: Sizes,
  device: Device,
  mode: Mode,
): Promise<Models[K]> {
  const model = fromConfig[kind](size);
  randomWeights(model, device, mode.dtype);
  await model.to({ memoryFormat: mode.format });
  return model;
}

/**
 * The whole pipeline with DDIM, so that n steps are n UNet calls; `tokenizerModel` is a folder that has a tokenizer.
 */
export async function buildPipeline(
  size: Sizes,
  device: Device,
  mode: Mode,
  tokenizerModel: string,
): Promise<StableDiffusionPipeline> {
  const pipe = new StableDiffusionPipeline(
    {
      unet: await build('unet', size, device, mode),
      vae: await build('vae', size, device, mode),
      textEncoder: await build('text', size, device, mode),
      tokenizer: await clipTokenizerFromFiles(await openModel(tokenizerModel, { localFilesOnly: true })),
      scheduler: schedulerFromConfig({
        _class_name: 'DDIMScheduler',
        beta_start: 0.00085,
        beta_end: 0.012,
        beta_schedule: 'scaled_linear',
        clip_sample: false,
        set_alpha_to_one: false,
        steps_offset: 1,
      }),
    },
    { computeDtype: mode.dtype },
  );
  pipe.setProgressBarConfig({ disable: true });
  return pipe;
}
