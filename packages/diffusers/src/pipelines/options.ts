// What every pipeline's call takes and gives. Pipelines add their own options in their own files.

import type { OptionNames, Tensor } from '@darkroom/core';
import type { Image } from '../image/image.ts';
import type { Generator } from '../random/generator.ts';

/** Tensors of a call by the names callbacks see; pipelines add theirs. All belong to the call. */
export interface LoopTensors {
  /** [images, channels, height/scale, width/scale] */
  latents: Tensor;
  /** [images, tokens, features], under guidance [2·images, …] with the unconditional half first. */
  promptEmbeds: Tensor;
}

/** What a callback may read and replace: latents always, the others by name. */
export type StepTensors<T extends LoopTensors = LoopTensors> = Partial<T> & Pick<T, 'latents'>;

/** The part of a pipeline that a callback needs. */
export interface Interruptible {
  /** Set by a callback to end the loop after the current step; the picture so far is decoded. */
  interrupt: boolean;
}

export type StepCallback<T extends LoopTensors = LoopTensors, P extends Interruptible = Interruptible> = (
  pipe: P,
  step: number,
  timestep: number,
  tensors: StepTensors<T>,
) => Partial<T> | void | Promise<Partial<T> | void>;

export interface CallOptions<T extends LoopTensors = LoopTensors> {
  readonly negativePrompt?: string | readonly string[];
  readonly numImagesPerPrompt?: number;
  readonly numInferenceSteps?: number;
  /** Custom schedules, where the scheduler supports them. */
  readonly timesteps?: readonly number[];
  readonly sigmas?: readonly number[];
  /** 1 or less runs no unconditional half. */
  readonly guidanceScale?: number;
  readonly guidanceRescale?: number;
  readonly eta?: number;
  /** One seed, or one for each image; default: a random one, reported in the result. */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** Instead of seeds: one generator for the whole batch, or one for each image. */
  readonly generator?: Generator | readonly Generator[];
  /** [prompts, tokens, features]; replaces prompt. */
  readonly promptEmbeds?: Tensor;
  readonly negativePromptEmbeds?: Tensor;
  /** k uses the hidden state before the last k layers. */
  readonly clipSkip?: number;
  readonly width?: number;
  readonly height?: number;
  /** 'image' (default): Image objects; 'tensor': [n, 3, h, w] in [0, 1]; 'latent': [n, c, h/8, w/8]. */
  readonly outputType?: 'image' | 'tensor' | 'latent';
  readonly callbackOnStepEnd?: StepCallback<T>;
  /** Which tensors the callback sees; default: latents. */
  readonly callbackOnStepEndTensors?: readonly (keyof T & string)[];
  readonly signal?: AbortSignal;
}

/** Options of any pipeline's call. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- callbacks see tensors of types that differ between pipelines
export type AnyCallOptions = CallOptions<any>;

/** The names of CallOptions, for pipelines to add theirs to. */
export const callOptionNames: OptionNames<CallOptions> = {
  negativePrompt: true,
  numImagesPerPrompt: true,
  numInferenceSteps: true,
  timesteps: true,
  sigmas: true,
  guidanceScale: true,
  guidanceRescale: true,
  eta: true,
  seed: true,
  generator: true,
  promptEmbeds: true,
  negativePromptEmbeds: true,
  clipSkip: true,
  width: true,
  height: true,
  outputType: true,
  callbackOnStepEnd: true,
  callbackOnStepEndTensors: true,
  signal: true,
};

export interface StableDiffusionOutput {
  /** For outputType 'image'. */
  readonly images: readonly Image[];
  /** For outputType 'tensor' and 'latent'; the caller disposes it. */
  readonly tensor?: Tensor;
  /** The seeds used, one an image, unless generators or latents were given. */
  readonly seeds: readonly (number | bigint)[];
}
