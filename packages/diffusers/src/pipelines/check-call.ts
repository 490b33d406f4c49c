// Checks a call's arguments before anything runs: each bad one gives one error with the rule and both values.

import { ArgumentError, formatShape } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { StableDiffusionOptions, StableDiffusionPipeline } from './stable-diffusion.ts';

/** A checked call. `images` = prompts × numImagesPerPrompt. */
export interface CheckedCall {
  readonly prompts: readonly string[] | undefined;
  readonly negativePrompts: readonly string[];
  readonly count: number;
  readonly imagesPerPrompt: number;
  readonly images: number;
  readonly guided: boolean;
  readonly guidanceScale: number;
  readonly guidanceRescale: number;
  readonly latentShape: readonly [number, number, number, number];
  readonly schedule: { numInferenceSteps?: number; timesteps?: number[]; sigmas?: number[] };
}

function requirePositiveInteger(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError(`${name}: must be an integer >= 1, got ${value}`);
}

function requireFinite(name: string, value: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new ArgumentError(`${name}: must be a finite number, got ${value}`);
}

export function checkCall(
  pipe: StableDiffusionPipeline,
  prompt: string | readonly string[] | undefined,
  options: StableDiffusionOptions,
): CheckedCall {
  const {
    promptEmbeds,
    negativePromptEmbeds,
    guidanceScale = 7.5,
    guidanceRescale = 0,
    numImagesPerPrompt = 1,
  } = options;
  const prompts = prompt === undefined ? undefined : typeof prompt === 'string' ? [prompt] : prompt;
  if ((prompts === undefined) === (promptEmbeds === undefined))
    throw new ArgumentError('prompt: give either a prompt or promptEmbeds');
  if (prompts?.length === 0 || prompts?.some((p) => typeof p !== 'string')) {
    throw new ArgumentError('prompt: must be a string or a list of at least one string');
  }
  const count = prompts?.length ?? promptEmbeds!.shape[0]!;
  requirePositiveInteger('numImagesPerPrompt', numImagesPerPrompt);
  requireFinite('guidanceScale', guidanceScale);
  requireFinite('guidanceRescale', guidanceRescale);
  requireFinite('eta', options.eta ?? 0);
  if (options.clipSkip !== undefined) requirePositiveInteger('clipSkip', options.clipSkip);
  const images = count * numImagesPerPrompt;
  const outputType: string = options.outputType ?? 'image';
  if (!['image', 'tensor', 'latent'].includes(outputType)) {
    throw new ArgumentError(`outputType: must be 'image', 'tensor' or 'latent', got '${outputType}'`);
  }
  if (promptEmbeds && promptEmbeds.rank !== 3) {
    throw new ArgumentError(
      `promptEmbeds: must be [prompts, tokens, features], got ${formatShape(promptEmbeds.shape)}`,
    );
  }
  if (
    promptEmbeds &&
    negativePromptEmbeds &&
    formatShape(promptEmbeds.shape) !== formatShape(negativePromptEmbeds.shape)
  ) {
    throw new ArgumentError(
      `negativePromptEmbeds: must be ${formatShape(promptEmbeds.shape)} like promptEmbeds, got ${formatShape(negativePromptEmbeds.shape)}`,
    );
  }
  const guided = guidanceScale > 1 && typeof pipe.unet.config['time_cond_proj_dim'] !== 'number';
  const latentShape = checkSize(pipe, options, images);
  if (options.latents) checkLatents(options.latents, latentShape);
  const { timesteps, sigmas, numInferenceSteps = 50 } = options;
  if (timesteps && sigmas) throw new ArgumentError('timesteps: give timesteps or sigmas, not both');
  if (!timesteps && !sigmas) requirePositiveInteger('numInferenceSteps', numInferenceSteps);
  return {
    prompts,
    negativePrompts: negatives(options.negativePrompt, count),
    count,
    imagesPerPrompt: numImagesPerPrompt,
    images,
    guided,
    guidanceScale,
    guidanceRescale,
    latentShape,
    schedule: timesteps
      ? { timesteps: [...timesteps] }
      : sigmas
        ? { sigmas: [...sigmas] }
        : { numInferenceSteps },
  };
}

function checkSize(
  pipe: StableDiffusionPipeline,
  options: StableDiffusionOptions,
  images: number,
): readonly [number, number, number, number] {
  const scale = pipe.vaeScale;
  const sample = pipe.unet.config['sample_size'];
  const [defaultHeight, defaultWidth] = Array.isArray(sample)
    ? (sample as [number, number])
    : [sample as number, sample as number];
  const height = options.height ?? (defaultHeight ?? 64) * scale;
  const width = options.width ?? (defaultWidth ?? 64) * scale;
  for (const [name, size] of [
    ['height', height],
    ['width', width],
  ] as const) {
    requirePositiveInteger(name, size);
    if (size % scale !== 0)
      throw new ArgumentError(`${name}: must be divisible by ${scale} (the VAE's scale), got ${size}`);
  }
  return [images, pipe.unet.config['in_channels'] as number, height / scale, width / scale];
}

function checkLatents(latents: Tensor, shape: readonly number[]): void {
  if (formatShape(latents.shape) !== formatShape(shape)) {
    throw new ArgumentError(`latents: must be ${formatShape(shape)}, got ${formatShape(latents.shape)}`);
  }
}

function negatives(given: string | readonly string[] | undefined, count: number): readonly string[] {
  if (given === undefined || typeof given === 'string')
    return Array.from({ length: count }, () => given ?? '');
  if (given.length !== count)
    throw new ArgumentError(
      `negativePrompt: ${given.length} for ${count} prompts; give one, or one for each`,
    );
  return given;
}
