// Checks a call's arguments before anything runs: each bad one gives one error with the rule and both values.

import { ArgumentError, describe, formatShape, shorten, Tensor } from '@darkroom/core';
import type { CallOptions } from './options.ts';
import type { Pipeline } from './pipeline.ts';

/** What one text encoder reads, one text a prompt. */
export interface Texts {
  /** Undefined when embeddings are given. */
  readonly prompts: readonly string[] | undefined;
  /** Undefined when the user gave none. */
  readonly negatives: readonly string[] | undefined;
}

/** A checked call. `images` = prompts × numImagesPerPrompt. */
export interface CheckedCall {
  /** One for each text encoder. */
  readonly texts: readonly Texts[];
  /** Number of prompts. */
  readonly count: number;
  readonly imagesPerPrompt: number;
  readonly images: number;
  readonly guided: boolean;
  readonly guidanceScale: number;
  readonly guidanceRescale: number;
  readonly eta: number;
  readonly clipSkip: number | undefined;
  readonly latentShape: readonly [number, number, number, number];
  readonly schedule: { numInferenceSteps?: number; timesteps?: number[]; sigmas?: number[] };
}

/** null counts as not given. */
type Prompt = string | readonly string[] | null | undefined;

export function requirePositiveInteger(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError(`${name}: must be an integer >= 1, got ${describe(value)}`);
}

function requireFinite(name: string, value: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new ArgumentError(`${name}: must be a finite number, got ${describe(value)}`);
}

/** Callbacks see tensors of types that differ between pipelines. */
interface Callbacks {
  readonly callbackOnStepEnd?: unknown;
  readonly callbackOnStepEndTensors?: unknown;
}

function requireList(name: string, value: unknown, of: 'numbers' | 'names'): void {
  const type = of === 'numbers' ? 'number' : 'string';
  if (value === undefined || (Array.isArray(value) && value.every((v) => typeof v === type))) return;
  throw new ArgumentError(`${name}: must be a list of ${of}, got ${describe(value)}`);
}

function checkLoop({ signal, callbackOnStepEnd, ...options }: Pick<CallOptions, 'signal'> & Callbacks): void {
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.throwIfAborted !== 'function')
    throw new ArgumentError(`signal: must be an AbortSignal, got ${describe(signal)}`);
  if (callbackOnStepEnd !== undefined && typeof callbackOnStepEnd !== 'function')
    throw new ArgumentError(`callbackOnStepEnd: must be a function, got ${describe(callbackOnStepEnd)}`);
  requireList('callbackOnStepEndTensors', options.callbackOnStepEndTensors, 'names');
}

/** A call but for its size, which image pipelines take from the image. */
export function checkCall(
  pipe: Pipeline,
  prompt: Prompt,
  options: Omit<CallOptions, 'callbackOnStepEnd' | 'callbackOnStepEndTensors'> & Callbacks,
  defaults: { readonly guidanceScale: number },
): Omit<CheckedCall, 'latentShape'> {
  const {
    promptEmbeds,
    negativePromptEmbeds,
    guidanceScale = defaults.guidanceScale,
    guidanceRescale = 0,
    numImagesPerPrompt = 1,
    eta = 0,
  } = options;
  checkLoop(options);
  for (const name of ['timesteps', 'sigmas'] as const) requireList(name, options[name], 'numbers');
  for (const name of ['promptEmbeds', 'negativePromptEmbeds'] as const) requireTensor(name, options[name]);
  const prompts = checkPrompt('prompt', prompt);
  if ((prompts === undefined) === (promptEmbeds === undefined))
    throw new ArgumentError('prompt: give either a prompt or promptEmbeds');
  const count = prompts?.length ?? promptEmbeds!.shape[0]!;
  requirePositiveInteger('numImagesPerPrompt', numImagesPerPrompt);
  requireFinite('guidanceScale', guidanceScale);
  requireFinite('guidanceRescale', guidanceRescale);
  requireFinite('eta', eta);
  if (options.clipSkip !== undefined) requirePositiveInteger('clipSkip', options.clipSkip);
  const outputType: string = options.outputType ?? 'image';
  if (!['image', 'tensor', 'latent'].includes(outputType)) {
    throw new ArgumentError(
      `outputType: must be 'image', 'tensor' or 'latent', got '${shorten(String(outputType))}'`,
    );
  }
  if (promptEmbeds && promptEmbeds.rank !== 3) {
    throw new ArgumentError(
      `promptEmbeds: must be [prompts, tokens, features], got ${formatShape(promptEmbeds.shape)}`,
    );
  }
  if (promptEmbeds && negativePromptEmbeds)
    requireShape('negativePromptEmbeds', negativePromptEmbeds, promptEmbeds.shape, ' like promptEmbeds');
  const { timesteps, sigmas, numInferenceSteps = 50 } = options;
  if (timesteps && sigmas) throw new ArgumentError('timesteps: give timesteps or sigmas, not both');
  if (!timesteps && !sigmas) requirePositiveInteger('numInferenceSteps', numInferenceSteps);
  return {
    texts: [{ prompts, negatives: checkNegatives('negativePrompt', options.negativePrompt, count) }],
    count,
    imagesPerPrompt: numImagesPerPrompt,
    images: count * numImagesPerPrompt,
    guided: guidanceScale > 1 && typeof pipe.unet.config['time_cond_proj_dim'] !== 'number',
    guidanceScale,
    guidanceRescale,
    eta,
    clipSkip: options.clipSkip,
    schedule: timesteps
      ? { timesteps: [...timesteps] }
      : sigmas
        ? { sigmas: [...sigmas] }
        : { numInferenceSteps },
  };
}

/** One prompt, or a list of at least one. */
export function checkPrompt(name: string, prompt: Prompt): readonly string[] | undefined {
  if (prompt === undefined || prompt === null) return undefined;
  const prompts: unknown = typeof prompt === 'string' ? [prompt] : prompt;
  const isList = Array.isArray(prompts);
  const bad: unknown = isList ? prompts.find((p) => typeof p !== 'string') : prompts;
  if (!isList || prompts.length === 0 || bad !== undefined) {
    const got = isList && prompts.length > 0 ? `a list with ${describe(bad)}` : describe(prompts);
    throw new ArgumentError(`${name}: must be a string or a list of at least one string, got ${got}`);
  }
  return prompts as string[];
}

/** One negative prompt for all, or one for each; undefined stays so. */
export function checkNegatives(name: string, given: Prompt, count: number): readonly string[] | undefined {
  const texts = checkPrompt(name, given);
  if (texts === undefined || typeof given === 'string')
    return texts && Array.from({ length: count }, () => texts[0]!);
  if (texts.length !== count)
    throw new ArgumentError(`${name}: ${texts.length} for ${count} prompts; give one, or one for each`);
  return texts;
}

/** [images, latent channels, height/scale, width/scale]; by default the size the model was trained on. */
export function checkSize(
  pipe: Pipeline,
  size: { readonly width?: number | undefined; readonly height?: number | undefined },
  images: number,
): readonly [number, number, number, number] {
  const scale = pipe.vaeScale;
  const trained = trainedSize(pipe);
  const { height = trained.height, width = trained.width } = size;
  for (const [name, value] of [
    ['height', height],
    ['width', width],
  ] as const) {
    requirePositiveInteger(name, value);
    if (value % scale !== 0)
      throw new ArgumentError(`${name}: must be divisible by ${scale} (the VAE's scale), got ${value}`);
  }
  return [images, pipe.latentChannels, height / scale, width / scale];
}

/** Pixels of the pictures that the UNet was trained on. */
function trainedSize(pipe: Pipeline): { width: number; height: number } {
  const sample = pipe.unet.config['sample_size'];
  const [height = 64, width = 64] = (Array.isArray(sample) ? sample : [sample, sample]) as number[];
  return { width: width * pipe.vaeScale, height: height * pipe.vaeScale };
}

/** The UNet must take latents alone (extra 0), or with so many channels more. */
export function checkUNetChannels(pipe: Pipeline, extra: readonly number[]): void {
  const got = (pipe.unet.config['in_channels'] as number | undefined) ?? 4;
  const channels = pipe.latentChannels;
  const allowed = extra.map((n) => channels + n);
  if (allowed.includes(got)) return;
  const hint =
    got === 2 * channels + 1 ? '; it is one for inpainting, for StableDiffusionInpaintPipeline' : '';
  throw new ArgumentError(
    `${pipe.className}: the UNet must take ${allowed.join(' or ')} channels (the VAE has ${channels}), this one takes ${got}${hint}`,
  );
}

/** Throws for anything but a tensor or nothing. */
export function requireTensor(name: string, given: unknown): void {
  if (given === undefined || (given instanceof Tensor && !given.isDisposed)) return;
  const got = given instanceof Tensor ? 'one that was disposed' : describe(given);
  throw new ArgumentError(`${name}: must be a tensor, got ${got}`);
}

export function requireShape(name: string, given: Tensor, shape: readonly number[], why = ''): void {
  requireTensor(name, given);
  if (formatShape(given.shape) !== formatShape(shape)) {
    throw new ArgumentError(`${name}: must be ${formatShape(shape)}${why}, got ${formatShape(given.shape)}`);
  }
}
