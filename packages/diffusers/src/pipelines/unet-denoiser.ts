// The UNet as a denoiser: maps the call's tensors to its conditioning.

import { concat, Module } from '@darkroom/core';
import type { Conditioning } from '../models/conditioning.ts';
import type { UNetLike } from '../models/types.ts';
import { unetConfig } from '../models/unet-config.ts';
import type { Denoiser, NamedTensors } from './recipe.ts';

/**
 * A denoiser that calls a UNet. Reads `promptEmbeds`, `addTextEmbeds` with `addTimeIds` (SDXL) and `timestepCond` (LCM)
 * of the call's tensors; `beside` names tensors that are concatenated to the latents' channels (inpainting).
 */
export function unetDenoiser(unet: UNetLike, beside: readonly string[] = []): Denoiser {
  const { outChannels, blockOutChannels } = unetConfig(unet);
  return {
    name: 'unet',
    dtype: unet.dtype,
    modules: [unet],
    predictionShape: ([n, , ...size]) => [n!, outChannels, ...size],
    predict: (latents, { timestep }, tensors) => {
      const sample =
        beside.length === 0 ? latents : concat([latents, ...beside.map((name) => tensors[name]!)], 1);
      return unet.call(sample, timestep, conditioningOf(tensors)).sample;
    },
    widest: ([n, , ...size]) =>
      unet instanceof Module && blockOutChannels ? [[n!, blockOutChannels[0]!, ...size]] : [],
  };
}

/** The UNet's conditioning from the call's tensors. */
export function conditioningOf(tensors: NamedTensors): Conditioning {
  const { promptEmbeds, addTextEmbeds, addTimeIds, timestepCond } = tensors;
  return {
    encoderHiddenStates: promptEmbeds!,
    ...(addTextEmbeds && { addedCond: { textEmbeds: addTextEmbeds, timeIds: addTimeIds! } }),
    ...(timestepCond && { timestepCond }),
  };
}
