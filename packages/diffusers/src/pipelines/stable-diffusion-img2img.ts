// Image to image with Stable Diffusion 1.x and 2.x: the loop starts from a picture with noise mixed in.
// Reference: diffusers' StableDiffusionImg2ImgPipeline, including the order in which noise is drawn.

import { ArgumentError, tensor } from '@darkroom/core';
import type { OptionNames } from '@darkroom/core';
import type { ComponentSlots } from '../components/slots.ts';
import { preprocessImage, sizeOfInput } from '../image/preprocess.ts';
import type { ImageInput } from '../image/preprocess.ts';
import { checkCall, checkUNetChannels, withSize } from './check-call.ts';
import { clipConditioner } from './conditioners/clip.ts';
import type { DrawArguments, Draws } from './latent-diffusion.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, StableDiffusionOutput } from './options.ts';
import type { NamedTensors, PixelSize, Recipe } from './recipe.ts';
import { requireFits, requireStrength } from './starts/image.ts';
import { imageToImage } from './starts/image-to-image.ts';
import { unetDenoiser } from './unet-denoiser.ts';
import { UNetPipeline, unetSlots } from './unet-pipeline.ts';
import type { PipelineComponents } from './unet-pipeline.ts';

/** Options of an image-to-image call. */
export interface StableDiffusionImg2ImgOptions extends CallOptions {
  /** The picture to start from, or its latents [n, latent channels, h/scale, w/scale] (scaled). */
  readonly image: ImageInput;
  /** Amount of noise mixed in, from 0 to 1: int(strength · numInferenceSteps) steps are run. Default 0.8. */
  readonly strength?: number;
  /** Pixels; default: the picture's size, rounded down to a multiple of the VAE's scale. */
  readonly width?: number;
  readonly height?: number;
}

const optionNames: OptionNames<StableDiffusionImg2ImgOptions> = {
  ...callOptionNames,
  image: true,
  strength: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionImg2ImgPipeline extends Draws<StableDiffusionImg2ImgOptions, true> {
  /** Draws pictures; `pipe(prompt, options)` is the same. */
  generate(...args: DrawArguments<StableDiffusionImg2ImgOptions, true>): Promise<StableDiffusionOutput>;
}

/** Image to image with Stable Diffusion 1.x and 2.x. Reference: diffusers' class of the same name. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionImg2ImgPipeline extends UNetPipeline {
  static readonly className = 'StableDiffusionImg2ImgPipeline';
  static readonly slots: ComponentSlots<PipelineComponents> = unetSlots;

  protected override recipe(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionImg2ImgOptions,
  ): Recipe {
    const { codec, className, target } = this;
    const readsGuidance = target.guidanceSize !== undefined;
    const checked = checkCall(prompt, options, { className, optionNames, guidanceScale: 7.5, readsGuidance });
    checkUNetChannels(this, [0]);
    const { strength = 0.8 } = options;
    requireStrength(strength);
    const { count, channels, height, width } = sizeOfInput('image', options.image);
    requireFits('image', count, checked.images);
    const isLatents = channels === this.latentChannels;
    if (!isLatents && channels !== 3) {
      throw new ArgumentError(
        `image: must have 3 channels, or ${this.latentChannels} as latents, got ${channels}`,
      );
    }
    const scale = this.vaeScale;
    const whole = (pixels: number): number => Math.max(scale, pixels - (pixels % scale));
    const size = isLatents
      ? { height: height * scale, width: width * scale }
      : { height: options.height ?? whole(height), width: options.width ?? whole(width) };
    const call = withSize(checked, codec, this.defaultSize, size);
    return {
      call,
      inputs: () => this.#inputs(options, isLatents ? undefined : call),
      conditioner: clipConditioner(this.firstEncoder, target),
      start: imageToImage(codec, { strength, isLatents }),
      denoiser: unetDenoiser(this.unet),
      codec,
    };
  }

  /** Given embeddings, and the image resized to `size` in pixels; undefined for latents, which are not resized. */
  async #inputs(options: StableDiffusionImg2ImgOptions, size: PixelSize | undefined): Promise<NamedTensors> {
    const names = ['promptEmbeds', 'negativePromptEmbeds'] as const;
    if (!size) return this.givenTensors(options, [...names, 'image']);
    const { height, width } = size;
    const { values, shape } = await preprocessImage('image', options.image, { height, width });
    const { device, computeDtype: dtype } = this;
    return {
      ...(await this.givenTensors(options, names)),
      image: tensor(values, { shape, device, dtype }),
    };
  }
}
