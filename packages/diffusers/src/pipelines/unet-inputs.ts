// Abstract inputs of a pipeline's UNet, for tracing.

import { ArgumentError, Tensor } from '@darkroom/core';
import type { Conditioning } from '../models/conditioning.ts';
import type { UNetLike } from '../models/types.ts';
import { unetConfig } from '../models/unet-config.ts';
import type { UNetConfig } from '../models/unet-config.ts';
import type { UNetPipeline } from './unet-pipeline.ts';

/** Original size, crop and target size, two each. */
const timeIdsOfXL = 6;

/** The size of a call whose UNet inputs are asked for. */
export interface UNetCall {
  /** Pixels; default: the model's training size. */
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** Pictures of one call: prompts times images per prompt. Default 1. */
  readonly images?: number;
  /** Classifier-free guidance doubles the batch. Default true. */
  readonly guided?: boolean;
}

/**
 * The arguments of a UNet call for `pipe`: abstract tensors (no memory) in the shapes and dtypes of a real call, and
 * some timestep. @throws ArgumentError for a size that is no multiple of the VAE's scale
 */
export function unetInputs(pipe: UNetPipeline, call: UNetCall = {}): Parameters<UNetLike['call']> {
  const { images = 1, guided = true } = call;
  const config = unetConfig(pipe.unet);
  const { inChannels, sampleSize = [64, 64], timeCondProjDim: timeCondSize } = config;
  const latents = (given: number | undefined, name: string, trained: number): number => {
    const latent = given === undefined ? trained : given / pipe.vaeScale;
    if (!Number.isInteger(latent) || latent < 1)
      throw new ArgumentError(
        `${name}: must be divisible by ${pipe.vaeScale} (the VAE's scale), got ${given}`,
      );
    return latent;
  };
  // Distilled models take the guidance scale as an input: their batch is not doubled.
  const n = images * (guided && timeCondSize === undefined ? 2 : 1);
  const tensor = (...shape: number[]): Tensor => Tensor.abstract(pipe.computeDtype, shape, pipe.device);
  const height = latents(call.height, 'height', sampleSize[0]);
  const width = latents(call.width, 'width', sampleSize[1]);
  const pooled = pooledWidth(config);
  const conditioning: Conditioning = {
    encoderHiddenStates: tensor(n, pipe.tokenizer.maxLength, config.encoderWidth),
    ...(pooled !== undefined && {
      addedCond: {
        textEmbeds: tensor(n, pooled),
        timeIds: Tensor.abstract('float32', [n, timeIdsOfXL], pipe.device),
      },
    }),
    ...(timeCondSize !== undefined && { timestepCond: tensor(images, timeCondSize) }),
  };
  return [tensor(n, inChannels, height, width), 0, conditioning];
}

/** Width of SDXL's pooled text embedding; undefined if the UNet reads none. @throws ArgumentError for bad widths. */
function pooledWidth(config: UNetConfig): number | undefined {
  if (config.addition === undefined) return undefined;
  const { projectionInputDim: joined = 0, additionTimeEmbedDim: each = 0 } = config;
  const pooled = joined - timeIdsOfXL * each;
  if (pooled >= 1) return pooled;
  throw new ArgumentError(
    `unetInputs: projection_class_embeddings_input_dim must be above ${timeIdsOfXL} times addition_time_embed_dim, which leaves ${pooled} for the pooled text`,
  );
}
