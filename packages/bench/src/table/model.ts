// The model that the tables are made with: a folder or a hub id, or Stable Diffusion 1.5's size with random weights.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Device } from '@darkroom/core';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import { sd15UNet } from '../sd15.ts';
import { buildPipeline, sizes } from '../verify/models.ts';
import type { Mode } from '../verify/models.ts';

/** Loads a pipeline on a device, in a mode's dtype and memory format; weights in host memory for offload. */
export type LoadPipeline = (
  device: Device,
  mode: Pick<Mode, 'dtype' | 'format'>,
  weights?: 'device' | 'host',
) => Promise<StableDiffusionPipeline>;

/** The folder of emoji-64 in a checkout. */
export const emojiFolder: string = join(
  fileURLToPath(new URL('.', import.meta.url)),
  '../../../..',
  'models/emoji-64',
);

/**
 * `model`: emoji-64, sd15 (random weights), a folder, or an id of the hub. `emoji`: the folder of emoji-64, whose
 * tokenizer sd15 has as well.
 */
export function loaderOf(model: string, emoji: string = emojiFolder): LoadPipeline {
  return async (device, mode, weights = 'device') => {
    const pipe = await load(model, emoji, device, mode, weights);
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
}

async function load(
  model: string,
  emoji: string,
  ...[device, mode, weights]: Required<Parameters<LoadPipeline>>
): Promise<StableDiffusionPipeline> {
  const { dtype, format: memoryFormat } = mode;
  if (model === 'sd15') {
    const pipe = await buildPipeline(
      sizes.full,
      device,
      { name: dtype, precision: 'float32', dtype, format: memoryFormat },
      emoji,
    );
    return weights === 'host' ? pipe.toHost() : pipe;
  }
  const from = model === 'emoji-64' ? emoji : model;
  const pipe = await StableDiffusionPipeline.fromPretrained(from, { device, dtype, weights });
  pipe.useScheduler('DDIMScheduler'); // as the guide has it: n steps are n calls of the UNet
  return weights === 'host' ? pipe : pipe.to({ memoryFormat });
}

/** True if the pipeline's UNet and pictures have the sizes that the torch replay was recorded at. */
export function isSd15(pipe: StableDiffusionPipeline, side: number): boolean {
  const config = pipe.unet.config as Readonly<Record<string, unknown>>;
  const same = (key: keyof typeof sd15UNet): boolean =>
    JSON.stringify(config[key]) === JSON.stringify(sd15UNet[key]);
  return (
    side === sizes.full.latent * pipe.vaeScale && same('block_out_channels') && same('cross_attention_dim')
  );
}
