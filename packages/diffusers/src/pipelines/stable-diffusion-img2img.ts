// Image to image with Stable Diffusion 1.x and 2.x: the loop starts from a picture with noise mixed in.
// Reference: diffusers' StableDiffusionImg2ImgPipeline, including the order in which noise is drawn.

import { ArgumentError, tensor } from '@darkroom/core';
import type { OptionNames } from '@darkroom/core';
import { preprocessImage, sizeOfInput } from '../image/preprocess.ts';
import type { ImageInput } from '../image/preprocess.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import { checkCall, checkSize, checkUNetChannels } from './check-call.ts';
import type { CheckedCall } from './check-call.ts';
import { embedPrompts } from './encode-prompts.ts';
import { noisedTo, repeatAll, requireFits, requireStrength, strengthWindow } from './image-start.ts';
import { LatentDiffusionPipeline } from './latent-diffusion.ts';
import type { CallInputs, Run } from './latent-diffusion.ts';
import { drawNoise } from './noise.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import { componentFolders } from './pipeline.ts';
import type { PipelineComponents } from './pipeline.ts';
import { encodeToLatents } from './vae-latents.ts';

export interface StableDiffusionImg2ImgOptions extends CallOptions {
  /** The picture to start from, or its latents [n, latent channels, h/scale, w/scale] (scaled). */
  readonly image: ImageInput;
  /** How much of the picture is replaced, from 0 to 1; int(strength · numInferenceSteps) steps are run. Default 0.8. */
  readonly strength?: number;
  /** Default: the picture's size, rounded down to what the VAE can make. */
  readonly width?: number;
  readonly height?: number;
}

interface Img2ImgCall extends CheckedCall {
  readonly strength: number;
  readonly imageIsLatents: boolean;
}

type Img2ImgRun = Omit<Run<Img2ImgCall, LoopTensors>, 'tensors'>;

const optionNames: OptionNames<StableDiffusionImg2ImgOptions> = {
  ...callOptionNames,
  image: true,
  strength: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionImg2ImgPipeline {
  (
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionImg2ImgOptions,
  ): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionImg2ImgPipeline extends LatentDiffusionPipeline<
  StableDiffusionImg2ImgOptions,
  Img2ImgCall
> {
  static readonly className = 'StableDiffusionImg2ImgPipeline';
  static readonly folders: Readonly<Record<keyof PipelineComponents, string>> = componentFolders;

  protected override readonly optionNames: OptionNames<StableDiffusionImg2ImgOptions> = optionNames;

  protected override check(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionImg2ImgOptions,
  ): Img2ImgCall {
    const call = checkCall(this, prompt, options, { guidanceScale: 7.5 });
    checkUNetChannels(this, [0]);
    const { strength = 0.8 } = options;
    requireStrength(strength);
    const { count, channels, height, width } = sizeOfInput('image', options.image);
    requireFits('image', count, call.images);
    const imageIsLatents = channels === this.latentChannels;
    if (!imageIsLatents && channels !== 3) {
      throw new ArgumentError(
        `image: must have 3 channels, or ${this.latentChannels} as latents, got ${channels}`,
      );
    }
    const scale = this.vaeScale;
    const whole = (pixels: number): number => Math.max(scale, pixels - (pixels % scale));
    const size = imageIsLatents
      ? { height: height * scale, width: width * scale }
      : { height: options.height ?? whole(height), width: options.width ?? whole(width) };
    return { ...call, strength, imageIsLatents, latentShape: checkSize(this, size, call.images) };
  }

  protected override async inputs(
    call: Img2ImgCall,
    options: StableDiffusionImg2ImgOptions,
  ): Promise<CallInputs> {
    const names = ['promptEmbeds', 'negativePromptEmbeds'] as const;
    if (call.imageIsLatents) return this.givenTensors(options, [...names, 'image']);
    const [, , height, width] = call.latentShape;
    const size = { height: height * this.vaeScale, width: width * this.vaeScale };
    const { values, shape } = await preprocessImage('image', options.image, size);
    const { device, computeDtype: dtype } = this;
    return {
      ...(await this.givenTensors(options, names)),
      image: tensor(values, { shape, device, dtype }),
    };
  }

  protected override window(call: Img2ImgCall, schedule: Schedule): { begin: number; end: number } {
    return strengthWindow(schedule, call.schedule.numInferenceSteps, call.strength);
  }

  protected override prepare(run: Img2ImgRun, inputs: CallInputs): LoopTensors {
    const { call, schedule, generators, begin } = run;
    const promptEmbeds = embedPrompts(this, call, inputs);
    const image = inputs['image']!;
    // With a generator for each image the picture is repeated first, so that each draws its own latents.
    const batch = generators.length > 1 ? repeatAll(image, call.images) : image;
    const encoded = call.imageIsLatents ? batch : encodeToLatents(this.vae, batch, generators);
    const clean = repeatAll(encoded, call.images);
    const noise = drawNoise(generators, clean.shape, clean.dtype, this.device);
    return { promptEmbeds, latents: noisedTo(this.scheduler, schedule, clean, noise, begin) };
  }
}
