// The pipeline of a command line, by the model and the given pictures: text to image, image to image or inpainting; and
// its memory switches.

import { ArgumentError } from '@darkroom/core';
import { Image, pipelineForTask, UNetPipeline } from '@darkroom/diffusers';
import type {
  AnyPipeline,
  AttentionSlice,
  CallOptions,
  StableDiffusionOutput,
  Task,
} from '@darkroom/diffusers';

export interface TaskOptions {
  readonly image?: string;
  readonly mask?: string;
  readonly strength?: number;
  readonly width?: number;
  readonly height?: number;
  readonly vaeSlicing?: boolean;
  /** True: tiles of the VAE's own size. */
  readonly vaeTiling?: number | true;
  readonly attentionSlicing?: AttentionSlice | true;
  /** False: with the score matrix in memory. */
  readonly memoryEfficientAttention?: boolean;
  readonly offload?: Offload;
  readonly channelsLast?: boolean;
}

export const offloads = ['model', 'sequential'] as const;
export type Offload = (typeof offloads)[number];

/** Options of a call that only some pipelines have. */
export interface PictureOptions {
  readonly image?: Image;
  readonly maskImage?: Image;
  readonly strength?: number;
  readonly width?: number;
  readonly height?: number;
}

/** Any pipeline as the command calls it. */
export type Draw = (prompt: string, options: CallOptions & PictureOptions) => Promise<StableDiffusionOutput>;

/** Reads the pictures. @throws ArgumentError naming the option of a bad file */
export async function readPictures(options: TaskOptions): Promise<PictureOptions> {
  const { image, mask, strength, width, height } = options;
  return {
    ...(width !== undefined && { width }),
    ...(height !== undefined && { height }),
    ...(strength !== undefined && { strength }),
    ...(image !== undefined && { image: await load('--image', image) }),
    ...(mask !== undefined && { maskImage: await load('--mask', mask) }),
  };
}

async function load(option: string, path: string): Promise<Image> {
  try {
    return await Image.load(path);
  } catch (error) {
    throw new ArgumentError(`${option}: ${(error as Error).message}`);
  }
}

/**
 * The pipeline for these pictures, on the components of the one that was loaded.
 * @throws ArgumentError naming the option
 */
export function pipelineFor(loaded: AnyPipeline, { image, maskImage }: PictureOptions): AnyPipeline {
  const [task, option]: readonly [Task, string] = maskImage
    ? ['inpainting', '--mask']
    : image
      ? ['image-to-image', '--image']
      : ['text-to-image', '--model'];
  const found = pipelineForTask(loaded, task);
  if (!found)
    throw new ArgumentError(`${option}: this version has no ${task} for the model, a ${loaded.className}`);
  if (!maskImage && loaded instanceof UNetPipeline && loaded.readsMask)
    throw new ArgumentError('--mask: this model is for inpainting; give it --image and --mask');
  return found.fromPipe(loaded);
}

/** The options with a size: inpainting draws at the picture's size, like image to image, instead of the model's. */
export function sizeOfPictures(pipe: AnyPipeline, pictures: PictureOptions): PictureOptions {
  const { image, maskImage } = pictures;
  if (!image || !maskImage) return pictures;
  const { sizeMultiple: step } = pipe;
  const whole = (pixels: number): number => Math.max(1, Math.floor(pixels / step)) * step;
  return { width: whole(image.width), height: whole(image.height), ...pictures };
}

export async function switchMemory(pipe: AnyPipeline, options: TaskOptions): Promise<void> {
  const { vaeSlicing, vaeTiling, attentionSlicing, offload } = options;
  if (vaeSlicing) pipe.enableVaeSlicing();
  if (vaeTiling !== undefined) pipe.enableVaeTiling(vaeTiling === true ? {} : { tileSize: vaeTiling });
  if (options.memoryEfficientAttention === false) pipe.disableMemoryEfficientAttention();
  if (attentionSlicing !== undefined)
    pipe.enableAttentionSlicing(attentionSlicing === true ? 'auto' : attentionSlicing);
  if (options.channelsLast) await pipe.to({ memoryFormat: 'channelsLast' });
  if (offload === 'model') pipe.enableModelCpuOffload();
  if (offload === 'sequential') pipe.enableSequentialCpuOffload();
}
