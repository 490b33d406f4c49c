// Text to image with Stable Diffusion XL: two text encoders, their pooled embedding, and the picture's size and crop as
// conditions. Reference: diffusers' StableDiffusionXLPipeline.

import { ArgumentError, describe, shortJson } from '@darkroom/core';
import type { OptionNames, Tensor } from '@darkroom/core';
import type { ComponentSlots } from '../components/slots.ts';
import { ConfigReader } from '../models/config.ts';
import type { TextEncoderLike } from '../models/types.ts';
import { vaeConfig } from '../models/vae-config.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import {
  checkCall, checkNegatives, checkPrompt, checkUNetChannels, requireShape, requireTensor, withSize,
} from './check-call.ts'; // prettier-ignore
import type { CallWithoutSize, CheckedCall } from './check-call.ts';
import { clipXLConditioner } from './conditioners/clip-xl.ts';
import type { MicroConditions, Pair } from './conditioners/clip-xl.ts';
import type { DrawArguments, Draws } from './latent-diffusion.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import type { PipelineOptions } from './pipeline.ts';
import type { Recipe, Window } from './recipe.ts';
import { textToImage } from './starts/text-to-image.ts';
import { unetDenoiser } from './unet-denoiser.ts';
import { UNetPipeline, unetSlots } from './unet-pipeline.ts';
import type { PipelineComponents } from './unet-pipeline.ts';
import { VaeCodec } from './vae-codec.ts';

/** Components of SDXL: those of Stable Diffusion, and a second text encoder with its tokenizer. */
export interface StableDiffusionXLComponents extends PipelineComponents {
  readonly textEncoder2: TextEncoderLike;
  readonly tokenizer2: ClipTokenizer;
}

/** Tensors of SDXL's loop, by the names that callbacks see. */
export interface XLTensors extends LoopTensors {
  /** `[images or 2·images, features]`: the pooled embedding. */
  addTextEmbeds: Tensor;
  /** `[images or 2·images, 6]`: original size, crop and target size in pixels. */
  addTimeIds: Tensor;
}

/** Options of a call of SDXL. */
export interface StableDiffusionXLOptions extends CallOptions<XLTensors> {
  /** Prompt of the second text encoder; default, also for '': the prompt. */
  readonly prompt2?: string | readonly string[];
  /** Negative prompt of the second text encoder; default, also for '': the negative prompt. */
  readonly negativePrompt2?: string | readonly string[];
  /** [prompts, features]; required with promptEmbeds. */
  readonly pooledPromptEmbeds?: Tensor;
  /** [prompts, features]; required with negativePromptEmbeds. */
  readonly negativePooledPromptEmbeds?: Tensor;
  /** [images, channels, height/scale, width/scale], before scaling by the scheduler's initial sigma. */
  readonly latents?: Tensor;
  /** [height, width] in pixels that the model is told as the picture's original size; default: the size drawn. */
  readonly originalSize?: Pair;
  /** [top, left] in pixels that the model is told as the crop; default [0, 0]. */
  readonly cropsCoordsTopLeft?: Pair;
  /** [height, width] in pixels that the model is told as the target size; default: the size drawn. */
  readonly targetSize?: Pair;
  /** The same for the unconditional half; used when both sizes are given. */
  readonly negativeOriginalSize?: Pair;
  readonly negativeCropsCoordsTopLeft?: Pair;
  readonly negativeTargetSize?: Pair;
  /** Stops after this part of the noise schedule, above 0 and below 1; another model continues from the latents. */
  readonly denoisingEnd?: number;
}

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
export interface StableDiffusionXLPipeline extends Draws<StableDiffusionXLOptions> {
  /** Draws pictures; `pipe(prompt, options)` is the same. */
  generate(...args: DrawArguments<StableDiffusionXLOptions>): Promise<StableDiffusionOutput>;
}

/** Text to image with Stable Diffusion XL. Reference: diffusers' class of the same name. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionXLPipeline extends UNetPipeline<StableDiffusionXLComponents> {
  static readonly className = 'StableDiffusionXLPipeline';
  static readonly slots: ComponentSlots<StableDiffusionXLComponents> = {
    ...unetSlots,
    textEncoder2: { folder: 'text_encoder_2', role: 'textEncoder' },
    tokenizer2: { folder: 'tokenizer_2', role: 'tokenizer' },
  };
  declare textEncoder2: TextEncoderLike;
  declare tokenizer2: ClipTokenizer;
  /** Without a negative prompt the unconditional half is zeros rather than the embedding of ''. */
  forceZerosForEmptyPrompt: boolean;

  constructor(components: StableDiffusionXLComponents, options: PipelineOptions = {}) {
    super(components, options);
    const index = new ConfigReader(this.index, 'model_index.json');
    this.forceZerosForEmptyPrompt = index.boolean('force_zeros_for_empty_prompt', true);
  }

  /** SDXL's VAE overflows in float16: it decodes in float32 if its config has force_upcast. */
  override get codec(): VaeCodec {
    const upcast = this.computeDtype === 'float16' && vaeConfig(this.vae).forceUpcast;
    return new VaeCodec(this.vae, { dtype: upcast ? 'float32' : this.computeDtype, statistics: true });
  }

  protected override recipe(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionXLOptions,
  ): Recipe {
    const { codec, className, target, scheduler } = this;
    const readsGuidance = target.guidanceSize !== undefined;
    const checked = checkCall(prompt, options, { className, optionNames, guidanceScale: 5, readsGuidance });
    checkUNetChannels(this, [0]);
    const sized = withSize(checked, codec, this.defaultSize, options);
    if (options.latents) requireShape('latents', options.latents, sized.latentShape);
    checkPooled(options, sized.count);
    const { denoisingEnd } = options;
    const inside = typeof denoisingEnd === 'number' && denoisingEnd > 0 && denoisingEnd < 1;
    if (denoisingEnd !== undefined && !inside)
      throw new ArgumentError(`denoisingEnd: must be above 0 and below 1, got ${describe(denoisingEnd)}`);
    const call = { ...sized, texts: [sized.texts[0]!, secondTexts(sized, options)] };
    const second = { tokenizer: this.tokenizer2, encoder: this.textEncoder2 };
    const zeroNegative = this.forceZerosForEmptyPrompt;
    const conditions = { ...microConditions(options, [call.height, call.width]), zeroNegative };
    const window =
      denoisingEnd === undefined
        ? undefined
        : (schedule: Schedule): Window => untilPart(schedule, denoisingEnd, scheduler.trainTimesteps);
    return {
      call,
      inputs: () =>
        this.givenTensors(options, [
          'promptEmbeds',
          'negativePromptEmbeds',
          'pooledPromptEmbeds',
          'negativePooledPromptEmbeds',
          'latents',
        ]),
      conditioner: clipXLConditioner([this.firstEncoder, second], target, conditions),
      start: textToImage(codec, window),
      denoiser: unetDenoiser(this.unet),
      codec,
    };
  }
}

/** The steps whose timestep is at least (1 - part) · trained. */
function untilPart(schedule: Schedule, part: number, trained: number): Window {
  const all = schedule.timesteps.length;
  const cutoff = Math.round(trained - part * trained);
  const end = schedule.timesteps.filter((t) => t >= cutoff).length;
  if (end === 0)
    throw new ArgumentError(
      `denoisingEnd: ${part} ends before the first of ${all} steps (timestep ${schedule.timesteps[0]})`,
    );
  return { begin: 0, end };
}

/** The texts of the second encoder: prompt2 and negativePrompt2, else those of the first. @throws ArgumentError */
function secondTexts(call: CallWithoutSize, options: StableDiffusionXLOptions): CheckedCall['texts'][0] {
  const { prompts, negatives } = call.texts[0]!;
  const second = checkPrompt('prompt2', givenText(options.prompt2));
  if (second && !prompts) throw new ArgumentError('prompt2: give either prompts or promptEmbeds');
  if (second && second.length !== prompts!.length)
    throw new ArgumentError(`prompt2: ${second.length} for ${prompts!.length} prompts; give one for each`);
  const negatives2 = checkNegatives('negativePrompt2', givenText(options.negativePrompt2), call.count);
  return { prompts: second ?? prompts, negatives: negatives2 ?? negatives };
}

/** Undefined for '' and [], which select the first encoder's texts; '' within a list is the empty text. */
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
): { readonly positive: MicroConditions; readonly negative: MicroConditions } {
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
  const positive = { originalSize, cropsCoordsTopLeft, targetSize };
  const { negativeOriginalSize, negativeCropsCoordsTopLeft = [0, 0], negativeTargetSize } = options;
  const negative =
    negativeOriginalSize && negativeTargetSize
      ? {
          originalSize: negativeOriginalSize,
          cropsCoordsTopLeft: negativeCropsCoordsTopLeft,
          targetSize: negativeTargetSize,
        }
      : positive;
  return { positive, negative };
}
