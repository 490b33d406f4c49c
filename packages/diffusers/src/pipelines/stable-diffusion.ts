// Text to image with Stable Diffusion 1.x and 2.x. The loop is in latent-diffusion.ts.
// Reference: diffusers' StableDiffusionPipeline, without its safety checker.
import type { OptionNames, Tensor } from '@darkroom/core';
import type { ComponentSlots } from '../components/slots.ts';
import { checkCall, checkUNetChannels, requireShape, withSize } from './check-call.ts';
import { clipConditioner } from './conditioners/clip.ts';
import type { DrawArguments, Draws } from './latent-diffusion.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, StableDiffusionOutput } from './options.ts';
import type { Recipe } from './recipe.ts';
import { textToImage } from './starts/text-to-image.ts';
import { unetDenoiser } from './unet-denoiser.ts';
import { UNetPipeline, unetSlots } from './unet-pipeline.ts';
import type { PipelineComponents } from './unet-pipeline.ts';

/** Components of Stable Diffusion 1.x and 2.x. */
export type StableDiffusionComponents = PipelineComponents;

/** Options of a text-to-image call. */
export interface StableDiffusionOptions extends CallOptions {
  /** [images, channels, height/scale, width/scale], before scaling by the scheduler's initial sigma. */
  readonly latents?: Tensor;
}

const optionNames: OptionNames<StableDiffusionOptions> = {
  ...callOptionNames,
  latents: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionPipeline extends Draws<StableDiffusionOptions> {
  /** Draws pictures; `pipe(prompt, options)` is the same. */
  generate(...args: DrawArguments<StableDiffusionOptions>): Promise<StableDiffusionOutput>;
}

/** Text to image with Stable Diffusion 1.x and 2.x. Reference: diffusers' class of the same name. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionPipeline extends UNetPipeline {
  static readonly className = 'StableDiffusionPipeline';
  static readonly slots: ComponentSlots<StableDiffusionComponents> = unetSlots;

  protected override recipe(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionOptions,
  ): Recipe {
    const { codec, className, target } = this;
    const readsGuidance = target.guidanceSize !== undefined;
    const checked = checkCall(prompt, options, { className, optionNames, guidanceScale: 7.5, readsGuidance });
    checkUNetChannels(this, [0]);
    const call = withSize(checked, codec, this.defaultSize, options);
    if (options.latents) requireShape('latents', options.latents, call.latentShape);
    return {
      call,
      inputs: () => this.givenTensors(options, ['promptEmbeds', 'negativePromptEmbeds', 'latents']),
      conditioner: clipConditioner(this.firstEncoder, target),
      start: textToImage(codec),
      denoiser: unetDenoiser(this.unet),
      codec,
    };
  }
}
