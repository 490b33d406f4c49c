// Inpainting with Stable Diffusion: repaints the white part of a mask. With a UNet of 4 channels, the latents of the
// kept part are restored after each step; a UNet of 9 channels reads the mask and the masked picture beside the
// latents.
// Reference: diffusers' StableDiffusionInpaintPipeline, including the order in which noise is drawn.

import { ArgumentError, tensor } from '@darkroom/core';
import type { OptionNames, Tensor } from '@darkroom/core';
import type { ComponentSlots } from '../components/slots.ts';
import { preprocessImage, preprocessMask, sizeOfInput } from '../image/preprocess.ts';
import type { ImageInput } from '../image/preprocess.ts';
import { checkCall, checkUNetChannels, requireShape, requireTensor, withSize } from './check-call.ts';
import type { CheckedCall } from './check-call.ts';
import { clipConditioner } from './conditioners/clip.ts';
import type { DrawArguments, Draws } from './latent-diffusion.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import type { NamedTensors, PixelSize, Recipe } from './recipe.ts';
import { requireFits, requireStrength } from './starts/image.ts';
import { inpainting } from './starts/inpainting.ts';
import { unetDenoiser } from './unet-denoiser.ts';
import { UNetPipeline, unetSlots } from './unet-pipeline.ts';
import type { PipelineComponents } from './unet-pipeline.ts';

/** Tensors of an inpainting loop, by the names that callbacks see. */
export interface InpaintTensors extends LoopTensors {
  /** `[images or 2·images, 1, h/scale, w/scale]`: 1 where the picture is repainted, 0 where it is kept. */
  mask: Tensor;
  /** For a UNet of 9 channels: latents of the picture with the repainted part blank, in the mask's batch. */
  maskedImageLatents?: Tensor;
  /** For a UNet of 4 channels: latents of the picture, and the noise mixed into them when they are restored. */
  imageLatents?: Tensor;
  noise?: Tensor;
}

/** Options of an inpainting call. */
export interface StableDiffusionInpaintOptions extends CallOptions<InpaintTensors> {
  /** The picture. */
  readonly image: ImageInput;
  /** White is repainted, black is kept. */
  readonly maskImage: ImageInput;
  /** Scaled latents of the masked picture [n, channels, h/scale, w/scale]; default: encoded from image and mask. */
  readonly maskedImageLatents?: Tensor;
  /** From 0 to 1 (default): below 1 the repainted part starts from the noised picture instead of noise alone. */
  readonly strength?: number;
  /** The initial noise [images, channels, h/scale, w/scale]. */
  readonly latents?: Tensor;
}

const optionNames: OptionNames<StableDiffusionInpaintOptions> = {
  ...callOptionNames,
  image: true,
  maskImage: true,
  maskedImageLatents: true,
  strength: true,
  latents: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionInpaintPipeline extends Draws<StableDiffusionInpaintOptions, true> {
  /** Draws pictures; `pipe(prompt, options)` is the same. */
  generate(...args: DrawArguments<StableDiffusionInpaintOptions, true>): Promise<StableDiffusionOutput>;
}

/** Inpainting with Stable Diffusion 1.x and 2.x. Reference: diffusers' class of the same name. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionInpaintPipeline extends UNetPipeline {
  static readonly className = 'StableDiffusionInpaintPipeline';
  static readonly slots: ComponentSlots<PipelineComponents> = unetSlots;

  protected override recipe(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionInpaintOptions,
  ): Recipe {
    const { codec, className, target } = this;
    const readsGuidance = target.guidanceSize !== undefined;
    const checked = checkCall(prompt, options, { className, optionNames, guidanceScale: 7.5, readsGuidance });
    const channels = this.latentChannels;
    checkUNetChannels(this, [0, channels + 1]);
    const { strength = 1 } = options;
    requireStrength(strength);
    checkPictures(options, checked.images);
    const call = withSize(checked, codec, this.defaultSize, options);
    checkLatents(options, call);
    const { readsMask } = this;
    return {
      call,
      inputs: () => this.#inputs(options, call),
      conditioner: clipConditioner(this.firstEncoder, target),
      start: inpainting(codec, { strength, readsMask }),
      denoiser: unetDenoiser(this.unet, readsMask ? ['mask', 'maskedImageLatents'] : []),
      codec,
    };
  }

  async #inputs(options: StableDiffusionInpaintOptions, { height, width }: PixelSize): Promise<NamedTensors> {
    const image = await preprocessImage('image', options.image, { height, width });
    const mask = await preprocessMask('maskImage', options.maskImage, { height, width });
    const { device, computeDtype: dtype } = this;
    const given = await this.givenTensors(options, [
      'promptEmbeds',
      'negativePromptEmbeds',
      'latents',
      'maskedImageLatents',
    ]);
    return {
      ...given,
      image: tensor(image.values, { shape: image.shape, device, dtype }),
      mask: tensor(mask.values, { shape: mask.shape, device, dtype }),
    };
  }
}

/** @throws ArgumentError if image and mask do not divide the batch, or the image has not 3 channels. */
function checkPictures(options: StableDiffusionInpaintOptions, images: number): void {
  const image = sizeOfInput('image', options.image);
  if (image.channels !== 3) throw new ArgumentError(`image: must have 3 channels, got ${image.channels}`);
  requireFits('image', image.count, images);
  const masks = sizeOfInput('maskImage', options.maskImage).count;
  requireFits('maskImage', masks, images);
  if (image.count > 1 && masks > 1 && image.count !== masks)
    throw new ArgumentError(`maskImage: ${masks} for ${image.count} images; give one, or one for each`);
}

function checkLatents(
  { latents, maskedImageLatents }: StableDiffusionInpaintOptions,
  { latentShape, images }: CheckedCall,
): void {
  if (latents) requireShape('latents', latents, latentShape);
  if (!maskedImageLatents) return;
  requireTensor('maskedImageLatents', maskedImageLatents);
  const [n = 0] = maskedImageLatents.shape;
  requireShape('maskedImageLatents', maskedImageLatents, [n, ...latentShape.slice(1)]);
  requireFits('maskedImageLatents', n, images);
}
