// Text to image with Stable Diffusion XL: two text encoders, their pooled embedding, and the picture's size and crop as
// conditions. Reference: diffusers' StableDiffusionXLPipeline.

import { ArgumentError, describe, shortJson } from '@darkroom/core';
import type { OptionNames, Tensor } from '@darkroom/core';
import type { TextEncoderLike } from '../models/types.ts';
import type { UNetOptions } from '../models/unet2d-condition.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import {
  checkCall, checkNegatives, checkPrompt, checkSize, checkUNetChannels, requireShape, requireTensor,
} from './check-call.ts'; // prettier-ignore
import type { CheckedCall } from './check-call.ts';
import { embedPromptsXL, timeIds } from './encode-prompts-xl.ts';
import type { MicroConditions, Pair } from './encode-prompts-xl.ts';
import { LatentDiffusionPipeline } from './latent-diffusion.ts';
import type { CallInputs, Run } from './latent-diffusion.ts';
import { drawNoise, scaledNoise } from './noise.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import { componentFolders } from './pipeline.ts';
import type { PipelineComponents, PipelineOptions } from './pipeline.ts';
import { decodeToPixels } from './vae-latents.ts';

export interface StableDiffusionXLComponents extends PipelineComponents {
  readonly textEncoder2: TextEncoderLike;
  readonly tokenizer2: ClipTokenizer;
}

export interface XLTensors extends LoopTensors {
  /** [images or 2·images, features]: the pooled embedding. */
  addTextEmbeds: Tensor;
  /** [images or 2·images, 6] */
  addTimeIds: Tensor;
}

export interface StableDiffusionXLOptions extends CallOptions<XLTensors> {
  /** For the second text encoder; default, also for '': the prompt. */
  readonly prompt2?: string | readonly string[];
  /** Default, also for '': the negative prompt. */
  readonly negativePrompt2?: string | readonly string[];
  /** [prompts, features]; with promptEmbeds. */
  readonly pooledPromptEmbeds?: Tensor;
  readonly negativePooledPromptEmbeds?: Tensor;
  /** [images, channels, height/scale, width/scale], before scaling by the scheduler's initial sigma. */
  readonly latents?: Tensor;
  /** [height, width] the picture shall look as if it came in; default: the size that is drawn. */
  readonly originalSize?: Pair;
  /** [top, left] it shall look as if it was cropped at; default [0, 0]. */
  readonly cropsCoordsTopLeft?: Pair;
  /** [height, width]; default: the size that is drawn. */
  readonly targetSize?: Pair;
  /** The same for the unconditional half; used when both sizes are given. */
  readonly negativeOriginalSize?: Pair;
  readonly negativeCropsCoordsTopLeft?: Pair;
  readonly negativeTargetSize?: Pair;
  /** Ends at this part of the noise, above 0 and below 1, for another model to go on from the latents. */
  readonly denoisingEnd?: number;
}

interface XLCall extends CheckedCall {
  readonly conditions: MicroConditions;
  readonly negativeConditions: MicroConditions;
  readonly denoisingEnd: number | undefined;
}

type XLRun = Run<XLCall, XLTensors>;

const optionNames: OptionNames<StableDiffusionXLOptions> = {
  ...callOptionNames,
  prompt2: true,
  negativePrompt2: true,
  pooledPromptEmbeds: true,
  negativePooledPromptEmbeds: true,
  latents: true,
  originalSize: true,
  cropsCoordsTopLeft: true,
  targetSize: true,
  negativeOriginalSize: true,
  negativeCropsCoordsTopLeft: true,
  negativeTargetSize: true,
  denoisingEnd: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionXLPipeline {
  (
    prompt: string | readonly string[] | undefined,
    options?: StableDiffusionXLOptions,
  ): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionXLPipeline extends LatentDiffusionPipeline<
  StableDiffusionXLOptions,
  XLCall,
  XLTensors,
  StableDiffusionXLComponents
> {
  static readonly className = 'StableDiffusionXLPipeline';
  static readonly folders: Readonly<Record<keyof StableDiffusionXLComponents, string>> = {
    ...componentFolders,
    textEncoder2: 'text_encoder_2',
    tokenizer2: 'tokenizer_2',
  };
  static override readonly offloadOrder: readonly string[] = ['textEncoder', 'textEncoder2', 'unet', 'vae'];
  textEncoder2: TextEncoderLike;
  tokenizer2: ClipTokenizer;
  /** Without a negative prompt the unconditional half is zeros rather than the embedding of ''. */
  forceZerosForEmptyPrompt: boolean;

  constructor(components: StableDiffusionXLComponents, options: PipelineOptions = {}) {
    super(components, options);
    this.textEncoder2 = components.textEncoder2;
    this.tokenizer2 = components.tokenizer2;
    this.forceZerosForEmptyPrompt = this.index['force_zeros_for_empty_prompt'] !== false;
  }

  protected override readonly optionNames: OptionNames<StableDiffusionXLOptions> = optionNames;

  protected override check(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionXLOptions,
  ): XLCall {
    const call = checkCall(this, prompt, options, { guidanceScale: 5 });
    checkUNetChannels(this, [0]);
    const latentShape = checkSize(this, options, call.images);
    if (options.latents) requireShape('latents', options.latents, latentShape);
    checkPooled(options, call.count);
    const { denoisingEnd } = options;
    const inside = typeof denoisingEnd === 'number' && denoisingEnd > 0 && denoisingEnd < 1;
    if (denoisingEnd !== undefined && !inside)
      throw new ArgumentError(`denoisingEnd: must be above 0 and below 1, got ${describe(denoisingEnd)}`);
    return {
      ...call,
      latentShape,
      denoisingEnd,
      texts: [call.texts[0]!, this.#secondTexts(call, options)],
      ...microConditions(options, [latentShape[2] * this.vaeScale, latentShape[3] * this.vaeScale]),
    };
  }

  #secondTexts(
    call: Omit<CheckedCall, 'latentShape'>,
    options: StableDiffusionXLOptions,
  ): CheckedCall['texts'][0] {
    const { prompts, negatives } = call.texts[0]!;
    const second = checkPrompt('prompt2', givenText(options.prompt2));
    if (second && !prompts) throw new ArgumentError('prompt2: give either prompts or promptEmbeds');
    if (second && second.length !== prompts!.length)
      throw new ArgumentError(`prompt2: ${second.length} for ${prompts!.length} prompts; give one for each`);
    const negatives2 = checkNegatives('negativePrompt2', givenText(options.negativePrompt2), call.count);
    return { prompts: second ?? prompts, negatives: negatives2 ?? negatives };
  }

  protected override async inputs(_: XLCall, options: StableDiffusionXLOptions): Promise<CallInputs> {
    return this.givenTensors(options, [
      'promptEmbeds',
      'negativePromptEmbeds',
      'pooledPromptEmbeds',
      'negativePooledPromptEmbeds',
      'latents',
    ]);
  }

  protected override window(call: XLCall, schedule: Schedule): { begin: number; end: number } {
    const all = schedule.timesteps.length;
    if (call.denoisingEnd === undefined) return { begin: 0, end: all };
    const trained = (this.scheduler.config['num_train_timesteps'] as number | undefined) ?? 1000;
    const cutoff = Math.round(trained - call.denoisingEnd * trained);
    const end = schedule.timesteps.filter((t) => t >= cutoff).length;
    if (end === 0)
      throw new ArgumentError(
        `denoisingEnd: ${call.denoisingEnd} ends before the first of ${all} steps (timestep ${schedule.timesteps[0]})`,
      );
    return { begin: 0, end };
  }

  protected override prepare(run: Omit<XLRun, 'tensors'>, inputs: CallInputs): XLTensors {
    const { call, schedule, generators } = run;
    const { device, computeDtype } = this;
    const encoders = [
      [this.tokenizer, this.textEncoder],
      [this.tokenizer2, this.textEncoder2],
    ] as const;
    const text = embedPromptsXL(this, encoders, call, inputs, this.forceZerosForEmptyPrompt);
    const noise = inputs['latents'] ?? drawNoise(generators, call.latentShape, computeDtype, device);
    return {
      ...text,
      addTimeIds: timeIds(this, call, call.conditions, call.negativeConditions),
      latents: scaledNoise(noise, schedule),
    };
  }

  protected override unetOptions({ addTextEmbeds, addTimeIds }: XLTensors): UNetOptions {
    return { addedCond: { textEmbeds: addTextEmbeds, timeIds: addTimeIds } };
  }

  /** SDXL's VAE overflows in float16, so where its config says so it decodes in float32. */
  protected override pixels(latents: Tensor): Tensor {
    const { force_upcast: force = true } = this.vae.config;
    const upcast = this.computeDtype === 'float16' && force === true;
    return decodeToPixels(this.vae, latents, upcast ? 'float32' : this.computeDtype, true);
  }
}

/** '' and [] for the second encoder mean the first one's texts; '' within a list is the empty text. */
function givenText(text: string | readonly string[] | undefined): string | readonly string[] | undefined {
  return text?.length === 0 ? undefined : text;
}

/** Pooled embeddings come with their prompt embeddings, and only with them. */
function checkPooled(options: StableDiffusionXLOptions, count: number): void {
  for (const [name, pooledName] of [
    ['promptEmbeds', 'pooledPromptEmbeds'],
    ['negativePromptEmbeds', 'negativePooledPromptEmbeds'],
  ] as const) {
    const pooled = options[pooledName];
    requireTensor(pooledName, pooled);
    if ((options[name] === undefined) !== (pooled === undefined))
      throw new ArgumentError(`${pooledName}: must be given together with ${name}`);
    if (pooled) requireShape(pooledName, pooled, [count, pooled.shape[1] ?? 0], ', one row a prompt');
  }
}

function microConditions(
  options: StableDiffusionXLOptions,
  drawn: Pair,
): { conditions: MicroConditions; negativeConditions: MicroConditions } {
  for (const name of [
    'originalSize',
    'cropsCoordsTopLeft',
    'targetSize',
    'negativeOriginalSize',
    'negativeCropsCoordsTopLeft',
    'negativeTargetSize',
  ] as const) {
    const pair = options[name];
    if (pair === undefined) continue;
    if (!(Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite)))
      throw new ArgumentError(`${name}: must be two numbers of pixels, got ${shortJson(pair)}`);
  }
  const { originalSize = drawn, cropsCoordsTopLeft = [0, 0], targetSize = drawn } = options;
  const conditions = { originalSize, cropsCoordsTopLeft, targetSize };
  const { negativeOriginalSize, negativeCropsCoordsTopLeft = [0, 0], negativeTargetSize } = options;
  const negativeConditions =
    negativeOriginalSize && negativeTargetSize
      ? {
          originalSize: negativeOriginalSize,
          cropsCoordsTopLeft: negativeCropsCoordsTopLeft,
          targetSize: negativeTargetSize,
        }
      : conditions;
  return { conditions, negativeConditions };
}
