// The options and the result of every pipeline's call. Pipelines add their own options in their own files.

import type { OptionNames, Tensor } from '@darkroom/core';
import type { Image } from '../image/image.ts';
import type { Generator } from '../random/generator.ts';

/** Tensors of the denoising loop, by the names that callbacks see; pipelines add theirs. The call owns all of them. */
export interface LoopTensors {
  /** [images, channels, height/scale, width/scale] */
  latents: Tensor;
  /** [images, tokens, features], under guidance [2·images, …] with the unconditional half first. */
  promptEmbeds: Tensor;
}

/** The tensors that a callback sees and may replace: latents, and those of callbackOnStepEndTensors. */
export type StepTensors<T extends LoopTensors = LoopTensors> = Partial<T> & Pick<T, 'latents'>;

/** The part of a pipeline that a callback uses to end the loop. */
export interface Interruptible {
  /** Set by a callback to end the loop after the current step; the picture so far is decoded. */
  interrupt: boolean;
}

/**
 * Runs after each step with the pipeline, the step's index, its timestep and its tensors, which the call owns. Tensors
 * that it returns replace those of the call, in the same shapes and on the same device. Reference: diffusers'
 * callback_on_step_end.
 */
export type StepCallback<T extends LoopTensors = LoopTensors, P extends Interruptible = Interruptible> = (
  pipe: P,
  step: number,
  timestep: number,
  tensors: StepTensors<T>,
) => Partial<T> | void | Promise<Partial<T> | void>;

/** Options that every pipeline's call takes. */
export interface CallOptions<T extends LoopTensors = LoopTensors> {
  /** One for all prompts, or one for each; default: the empty text. */
  readonly negativePrompt?: string | readonly string[];
  /** Default 1. */
  readonly numImagesPerPrompt?: number;
  /** Default 50. */
  readonly numInferenceSteps?: number;
  /** Training timesteps to visit, falling, instead of numInferenceSteps; where the scheduler supports them. */
  readonly timesteps?: readonly number[];
  /** Noise levels to visit, falling, instead of numInferenceSteps; where the scheduler supports them. */
  readonly sigmas?: readonly number[];
  /** Scale of classifier-free guidance; 1 or less runs no unconditional half. */
  readonly guidanceScale?: number;
  /** From 0 (default: none) to 1, as rescaleGuidance has it. */
  readonly guidanceRescale?: number;
  /** DDIM's eta; default 0. */
  readonly eta?: number;
  /** One seed, or one for each image; default: a random one, reported in the result. */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** One generator for the whole batch, or one for each image, instead of seeds. */
  readonly generator?: Generator | readonly Generator[];
  /** [prompts, tokens, features]; replaces prompt. */
  readonly promptEmbeds?: Tensor;
  /** In the shape of promptEmbeds; replaces negativePrompt. */
  readonly negativePromptEmbeds?: Tensor;
  /** k uses the text encoder's hidden state before the last k layers. */
  readonly clipSkip?: number;
  /** Pixels; default: the model's training size. */
  readonly width?: number;
  readonly height?: number;
  /** 'image' (default): Image objects; 'tensor': [n, 3, h, w] in [0, 1]; 'latent': [n, c, h/8, w/8]. */
  readonly outputType?: 'image' | 'tensor' | 'latent';
  readonly callbackOnStepEnd?: StepCallback<T>;
  /** Names of tensors that the callback sees beside latents. */
  readonly callbackOnStepEndTensors?: readonly (keyof T & string)[];
  /** Aborts the call between steps. */
  readonly signal?: AbortSignal;
}

/** Options of any pipeline's call. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- tensors of callbacks differ between pipelines
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

/** The result of a call, in the form of its outputType. */
export interface StableDiffusionOutput {
  /** For outputType 'image'; each tells in `parameters` how it was drawn. */
  readonly images: readonly Image[];
  /** For outputType 'tensor' and 'latent'; the caller disposes it. */
  readonly tensor?: Tensor;
  /** The seeds used: one, or one for each image; empty if generators were given. */
  readonly seeds: readonly (number | bigint)[];
}
