// Inpainting: a mask says what is painted anew. A denoiser that reads latents alone has what is kept put back after each
// step; one that reads the mask gets it, and the masked picture, beside the latents.
// Reference: diffusers' StableDiffusionInpaintPipeline, including the order in which noise is drawn.

import { concat, map, resize, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { drawNoise, scaledNoise } from '../noise.ts';
import type { LatentCodec, LatentStart, NamedTensors, StartOfRun } from '../recipe.ts';
import { drawForEncoding } from '../vae-codec.ts';
import { noisedTo, repeatAll, strengthWindow } from './image.ts';

interface Inpainting {
  readonly strength: number;
  /** True: the denoiser reads mask and masked picture. */
  readonly readsMask: boolean;
}

/**
 * From the inputs `image` [n, 3, h, w] in [-1, 1] and `mask` [n, 1, h, w] (1 where to paint); `latents` and
 * `maskedImageLatents` where given.
 */
export function inpainting(codec: LatentCodec, { strength, readsMask }: Inpainting): LatentStart {
  return {
    window: (schedule, call) => strengthWindow(schedule, call.schedule.numInferenceSteps, strength),
    begin: (run, given) => {
      const { call, schedule, generators, dtype, device, window } = run;
      const { images, latentShape, guided } = call;
      const [image, mask] = [given['image']!, given['mask']!];
      const encode = (x: Tensor): Tensor => repeatAll(codec.encode(x, generators), images);
      const fromNoise = strength === 1;
      const needsImage = !readsMask || (!fromNoise && !given['latents']);
      const imageLatents = needsImage ? encode(image) : undefined;
      const noise = given['latents'] ?? drawNoise(generators, latentShape, dtype, device);
      const latents =
        fromNoise || given['latents']
          ? scaledNoise(noise, schedule)
          : noisedTo(run, imageLatents!, noise, window.begin);
      const small = repeatAll(resize(mask, [latentShape[2], latentShape[3]]), images);
      const doubled = (x: Tensor): Tensor => (guided ? concat([x, x], 0) : x.alias());
      const masked = given['maskedImageLatents'];
      if (!readsMask) {
        if (!masked) skipMaskedImage(run, Math.max(image.shape[0]!, mask.shape[0]!));
        return { latents, mask: doubled(small), imageLatents: imageLatents!, noise: noise.alias() };
      }
      const kept = masked ? repeatAll(masked, images) : encode(withoutMasked(image, mask));
      return { latents, mask: doubled(small), maskedImageLatents: doubled(kept) };
    },
    ...(!readsMask && { afterStep: putBack }),
  };
}

/** Latents with what is kept put back, as noisy as the next step expects it. */
function putBack(latents: Tensor, run: StartOfRun, tensors: NamedTensors, i: number): Tensor {
  const { imageLatents, noise, mask } = tensors;
  const kept = i + 1 < run.window.end ? noisedTo(run, imageLatents!, noise!, i + 1) : imageLatents!;
  return map(
    ['add', ['mul', ['sub', 1, ['in', 2]], ['in', 0]], ['mul', ['in', 2], ['in', 1]]],
    [kept, latents, mask!.slice(0, 0, run.call.images)],
  );
}

/** diffusers encodes the masked picture even where no denoiser reads it: what it draws is drawn, so that seeds agree. */
function skipMaskedImage({ call, generators, dtype, device }: StartOfRun, count: number): void {
  const shape = [count, ...call.latentShape.slice(1)];
  scope(() => void drawForEncoding(generators, shape, dtype, device));
}

/** The picture with grey (0) where it is painted anew; one of either may serve several of the other. */
function withoutMasked(image: Tensor, mask: Tensor): Tensor {
  const count = Math.max(image.shape[0]!, mask.shape[0]!);
  return map(['mul', ['in', 0], ['sub', 1, ['in', 1]]], [repeatAll(image, count), repeatAll(mask, count)]);
}
