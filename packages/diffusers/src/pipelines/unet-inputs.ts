// What a pipeline will call its UNet with, as shapes: the sample inputs of a trace.

import { ArgumentError, Tensor } from '@darkroom/core';
import type { Conditioning } from '../models/conditioning.ts';
import type { UNetLike } from '../models/types.ts';
import type { Pipeline } from './pipeline.ts';

export interface UNetCall {
  /** Pixels; default: what the model was trained on. */
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** Pictures of one call: prompts times images per prompt. Default 1. */
  readonly images?: number;
  /** Classifier-free guidance doubles the batch. Default true. */
  readonly guided?: boolean;
}

/** Abstract tensors (no memory) in the shapes and dtypes that a call of `pipe` gives its UNet, and any timestep. */
export function unetInputs(pipe: Pipeline, call: UNetCall = {}): Parameters<UNetLike['call']> {
  const { images = 1, guided = true } = call;
  const { config } = pipe.unet;
  const has = (key: string): boolean => (config[key] ?? undefined) !== undefined;
  /** A number of the config, or one of its list. */
  const size = (key: string, fallback?: number, at = 0): number => {
    const value = config[key] ?? fallback;
    const first: unknown = Array.isArray(value) ? value[at] : value;
    if (typeof first !== 'number')
      throw new ArgumentError(`unetInputs: the UNet's config has no '${key}' to tell the shapes by`);
    return first;
  };
  const latents = (given: number | undefined, name: string, at: number): number => {
    const latent = given === undefined ? size('sample_size', 64, at) : given / pipe.vaeScale;
    if (!Number.isInteger(latent) || latent < 1)
      throw new ArgumentError(
        `${name}: must be divisible by ${pipe.vaeScale} (the VAE's scale), got ${given}`,
      );
    return latent;
  };
  // Distilled models take the guidance scale as an input instead.
  const n = images * (guided && !has('time_cond_proj_dim') ? 2 : 1);
  const tensor = (...shape: number[]): Tensor => Tensor.abstract(pipe.computeDtype, shape, pipe.device);
  const sample = tensor(
    n,
    size('in_channels', 4),
    latents(call.height, 'height', 0),
    latents(call.width, 'width', 1),
  );
  const width = has('encoder_hid_dim') ? size('encoder_hid_dim') : size('cross_attention_dim', 1280);
  const conditioning: { -readonly [K in keyof Conditioning]: Conditioning[K] } = {
    encoderHiddenStates: tensor(n, pipe.tokenizer.maxLength, width),
  };
  if (config['addition_embed_type'] === 'text_time') {
    const ids = 6;
    const pooled = size('projection_class_embeddings_input_dim') - ids * size('addition_time_embed_dim');
    if (pooled < 1)
      throw new ArgumentError(
        `unetInputs: projection_class_embeddings_input_dim must be above ${ids} times addition_time_embed_dim, which leaves ${pooled} for the pooled text`,
      );
    const timeIds = Tensor.abstract('float32', [n, ids], pipe.device);
    conditioning.addedCond = { textEmbeds: tensor(n, pooled), timeIds };
  }
  if (has('time_cond_proj_dim')) conditioning.timestepCond = tensor(images, size('time_cond_proj_dim'));
  return [sample, 0, conditioning];
}
