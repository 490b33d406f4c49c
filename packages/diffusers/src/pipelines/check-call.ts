// Checks a call's arguments before anything runs. A bad argument gives one error that names the rule and both values.

import { ArgumentError, checkOptions, describe, formatShape, shorten, Tensor } from '@darkroom/core';
import type { UNetLike } from '../models/types.ts';
import { unetConfig } from '../models/unet-config.ts';
import type { CallOptions } from './options.ts';
import type { LatentCodec, PixelSize } from './recipe.ts';
import type { CheckedCall } from './checked-call.ts';

export type { CheckedCall, Texts } from './checked-call.ts';

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

/** The callback options untyped: the tensors that callbacks see differ between pipelines. */
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

/** A checked call without its size, which image pipelines take from the image. */
export type CallWithoutSize = Omit<CheckedCall, 'latentShape' | keyof PixelSize>;

/** A pipeline's rules for the arguments that all pipelines share. */
export interface CallRules {
  readonly className: string;
  /** The names of all options; any other name is refused. */
  readonly optionNames: Readonly<Record<string, true>>;
  /** Default of the `guidanceScale` option. */
  readonly guidanceScale: number;
  /** True: the denoiser reads the guidance scale, and the batch is never doubled. */
  readonly readsGuidance: boolean;
}

/** Checks everything but the size. @throws ArgumentError */
export function checkCall(
  prompt: Prompt,
  options: Omit<CallOptions, 'callbackOnStepEnd' | 'callbackOnStepEndTensors'> & Callbacks,
  rules: CallRules,
): CallWithoutSize {
  checkOptions(rules.className, options, rules.optionNames);
  const {
    promptEmbeds,
    negativePromptEmbeds,
    guidanceScale = rules.guidanceScale,
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
    guided: guidanceScale > 1 && !rules.readsGuidance,
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

/** `prompt` as a list; undefined and null give undefined. @throws ArgumentError unless a string or a list with one. */
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

/** `count` negative prompts, from one for all or one for each; undefined gives undefined. @throws ArgumentError */
export function checkNegatives(name: string, given: Prompt, count: number): readonly string[] | undefined {
  const texts = checkPrompt(name, given);
  if (texts === undefined || typeof given === 'string')
    return texts && Array.from({ length: count }, () => texts[0]!);
  if (texts.length !== count)
    throw new ArgumentError(`${name}: ${texts.length} for ${count} prompts; give one, or one for each`);
  return texts;
}

/** The call with its size in pixels; default: the model's training size, `trained`. @throws ArgumentError */
export function withSize(
  call: CallWithoutSize,
  codec: LatentCodec,
  trained: PixelSize,
  size: { readonly width?: number | undefined; readonly height?: number | undefined },
): CheckedCall {
  const { height = trained.height, width = trained.width } = size;
  for (const [name, value] of [
    ['height', height],
    ['width', width],
  ] as const) {
    requirePositiveInteger(name, value);
    if (value % codec.scale !== 0)
      throw new ArgumentError(`${name}: must be divisible by ${codec.scale} (the VAE's scale), got ${value}`);
  }
  return { ...call, height, width, latentShape: codec.latentShape(call.images, { height, width }) };
}

/** @throws ArgumentError unless the UNet's input channels are the latents' plus one of `extra` (0: latents alone). */
export function checkUNetChannels(
  pipe: { readonly className: string; readonly latentChannels: number; readonly unet: UNetLike },
  extra: readonly number[],
): void {
  const { inChannels: got } = unetConfig(pipe.unet);
  const channels = pipe.latentChannels;
  const allowed = extra.map((n) => channels + n);
  if (allowed.includes(got)) return;
  const hint =
    got === 2 * channels + 1 ? '; it is one for inpainting, for StableDiffusionInpaintPipeline' : '';
  throw new ArgumentError(
    `${pipe.className}: the UNet must take ${allowed.join(' or ')} channels (the VAE has ${channels}), this one takes ${got}${hint}`,
  );
}

/** @throws ArgumentError unless `given` is undefined or a tensor that is not disposed. */
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
