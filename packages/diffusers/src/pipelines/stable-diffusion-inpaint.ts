// Inpainting with Stable Diffusion: a mask says what is painted anew. A UNet of 4 channels has what is kept put back
// after each step; one of 9 reads the mask and the masked picture beside the latents.
// Reference: diffusers' StableDiffusionInpaintPipeline, including the order in which noise is drawn.

import { ArgumentError, concat, map, resize, scope, tensor } from '@darkroom/core';
import type { OptionNames, Tensor } from '@darkroom/core';
import { preprocessImage, preprocessMask, sizeOfInput } from '../image/preprocess.ts';
import type { ImageInput } from '../image/preprocess.ts';
import type { Schedule } from '../schedulers/scheduler.ts';
import { checkCall, checkSize, checkUNetChannels, requireShape, requireTensor } from './check-call.ts';
import type { CheckedCall } from './check-call.ts';
import { embedPrompts } from './encode-prompts.ts';
import { noisedTo, repeatAll, requireFits, requireStrength, strengthWindow } from './image-start.ts';
import { LatentDiffusionPipeline } from './latent-diffusion.ts';
import type { CallInputs, Run } from './latent-diffusion.ts';
import { drawNoise, scaledNoise } from './noise.ts';
import { callOptionNames } from './options.ts';
import type { CallOptions, LoopTensors, StableDiffusionOutput } from './options.ts';
import { componentFolders } from './pipeline.ts';
import type { PipelineComponents } from './pipeline.ts';
import { drawForEncoding, encodeToLatents } from './vae-latents.ts';

export interface InpaintTensors extends LoopTensors {
  /** [images or 2·images, 1, h/scale, w/scale]: 1 where to paint. */
  mask: Tensor;
  /** For a UNet of 9 channels: latents of the picture without what is painted; a batch as the mask. */
  maskedImageLatents?: Tensor;
  /** For a UNet of 4 channels: the picture's latents and the noise they are put back with. */
  imageLatents?: Tensor;
  noise?: Tensor;
}

export interface StableDiffusionInpaintOptions extends CallOptions<InpaintTensors> {
  readonly image: ImageInput;
  /** White is painted anew, black is kept. */
  readonly maskImage: ImageInput;
  /** Latents of the masked picture [n, channels, h/scale, w/scale] (scaled), instead of those computed from it. */
  readonly maskedImageLatents?: Tensor;
  /** From 0 to 1; below 1 what is painted starts from the picture there. Default 1. */
  readonly strength?: number;
  /** Noise to start from [images, channels, h/scale, w/scale]. */
  readonly latents?: Tensor;
}

interface InpaintCall extends CheckedCall {
  readonly strength: number;
  /** Whether the UNet reads mask and masked picture. */
  readonly readsMask: boolean;
}

type InpaintRun = Run<InpaintCall, InpaintTensors>;

const optionNames: OptionNames<StableDiffusionInpaintOptions> = {
  ...callOptionNames,
  image: true,
  maskImage: true,
  maskedImageLatents: true,
  strength: true,
  latents: true,
};

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface StableDiffusionInpaintPipeline {
  (
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionInpaintOptions,
  ): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class StableDiffusionInpaintPipeline extends LatentDiffusionPipeline<
  StableDiffusionInpaintOptions,
  InpaintCall,
  InpaintTensors
> {
  static readonly className = 'StableDiffusionInpaintPipeline';
  static readonly folders: Readonly<Record<keyof PipelineComponents, string>> = componentFolders;

  protected override readonly optionNames: OptionNames<StableDiffusionInpaintOptions> = optionNames;

  protected override check(
    prompt: string | readonly string[] | undefined,
    options: StableDiffusionInpaintOptions,
  ): InpaintCall {
    const call = checkCall(this, prompt, options, { guidanceScale: 7.5 });
    const channels = this.latentChannels;
    checkUNetChannels(this, [0, channels + 1]);
    const { strength = 1 } = options;
    requireStrength(strength);
    const image = sizeOfInput('image', options.image);
    if (image.channels !== 3) throw new ArgumentError(`image: must have 3 channels, got ${image.channels}`);
    requireFits('image', image.count, call.images);
    const masks = sizeOfInput('maskImage', options.maskImage).count;
    requireFits('maskImage', masks, call.images);
    if (image.count > 1 && masks > 1 && image.count !== masks)
      throw new ArgumentError(`maskImage: ${masks} for ${image.count} images; give one, or one for each`);
    const latentShape = checkSize(this, options, call.images);
    if (options.latents) requireShape('latents', options.latents, latentShape);
    if (options.maskedImageLatents) {
      requireTensor('maskedImageLatents', options.maskedImageLatents);
      const [n = 0] = options.maskedImageLatents.shape;
      requireShape('maskedImageLatents', options.maskedImageLatents, [n, ...latentShape.slice(1)]);
      requireFits('maskedImageLatents', n, call.images);
    }
    const readsMask = this.unet.config['in_channels'] === 2 * channels + 1;
    return { ...call, strength, readsMask, latentShape };
  }

  protected override async inputs(
    call: InpaintCall,
    options: StableDiffusionInpaintOptions,
  ): Promise<CallInputs> {
    const [, , h, w] = call.latentShape;
    const size = { height: h * this.vaeScale, width: w * this.vaeScale };
    const image = await preprocessImage('image', options.image, size);
    const mask = await preprocessMask('maskImage', options.maskImage, size);
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

  protected override window(call: InpaintCall, schedule: Schedule): { begin: number; end: number } {
    return strengthWindow(schedule, call.schedule.numInferenceSteps, call.strength);
  }

  protected override prepare(run: Omit<InpaintRun, 'tensors'>, inputs: CallInputs): InpaintTensors {
    const { call, schedule, generators, begin } = run;
    const { images, latentShape, guided } = call;
    const promptEmbeds = embedPrompts(this, call, inputs);
    const [image, mask] = [inputs['image']!, inputs['mask']!];
    const encode = (x: Tensor): Tensor => repeatAll(encodeToLatents(this.vae, x, generators), images);
    const fromNoise = call.strength === 1;
    const needsImage = !call.readsMask || (!fromNoise && !inputs['latents']);
    const imageLatents = needsImage ? encode(image) : undefined;
    const noise = inputs['latents'] ?? drawNoise(generators, latentShape, this.computeDtype, this.device);
    const latents =
      fromNoise || inputs['latents']
        ? scaledNoise(noise, schedule)
        : noisedTo(this.scheduler, schedule, imageLatents!, noise, begin);
    const small = repeatAll(resize(mask, [latentShape[2], latentShape[3]]), images);
    const doubled = (x: Tensor): Tensor => (guided ? concat([x, x], 0) : x.alias());
    const given = inputs['maskedImageLatents'];
    if (!call.readsMask) {
      if (!given) this.#skipMaskedImage(run, Math.max(image.shape[0]!, mask.shape[0]!));
      return {
        promptEmbeds,
        latents,
        mask: doubled(small),
        imageLatents: imageLatents!,
        noise: noise.alias(),
      };
    }
    const masked = given ? repeatAll(given, images) : encode(withoutMasked(image, mask));
    return { promptEmbeds, latents, mask: doubled(small), maskedImageLatents: doubled(masked) };
  }

  /** diffusers encodes the masked picture even where no UNet reads it: what it draws is drawn, so that seeds agree. */
  #skipMaskedImage({ call, generators }: Omit<InpaintRun, 'tensors'>, count: number): void {
    const shape = [count, ...call.latentShape.slice(1)];
    scope(() => void drawForEncoding(generators, shape, this.computeDtype, this.device));
  }

  protected override modelInput(scaled: Tensor, { mask, maskedImageLatents }: InpaintTensors): Tensor {
    return maskedImageLatents ? concat([scaled, mask, maskedImageLatents], 1) : scaled;
  }

  /** A UNet of 4 channels paints everywhere: what is kept is put back, as noisy as the next step expects it. */
  protected override afterStep(latents: Tensor, run: InpaintRun, i: number): Tensor {
    const { call, schedule, end, tensors } = run;
    if (call.readsMask) return latents;
    const { imageLatents, noise, mask } = tensors;
    const kept =
      i + 1 < end ? noisedTo(this.scheduler, schedule, imageLatents!, noise!, i + 1) : imageLatents!;
    return map(
      ['add', ['mul', ['sub', 1, ['in', 2]], ['in', 0]], ['mul', ['in', 2], ['in', 1]]],
      [kept, latents, mask.slice(0, 0, call.images)],
    );
  }
}

/** The picture with grey (0) where it is painted anew; one of either may serve several of the other. */
function withoutMasked(image: Tensor, mask: Tensor): Tensor {
  const count = Math.max(image.shape[0]!, mask.shape[0]!);
  return map(['mul', ['in', 0], ['sub', 1, ['in', 1]]], [repeatAll(image, count), repeatAll(mask, count)]);
}
