// Inpainting: repaints the white part of a mask. For a denoiser that reads latents alone, the latents of the kept part
// are restored after each step; other denoisers read the mask and the latents of the masked picture.
// Reference: diffusers' StableDiffusionInpaintPipeline, including the order in which noise is drawn.

import { concat, map, resize, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { drawNoise, scaledNoise } from '../noise.ts';
import type { LatentCodec, LatentStart, NamedTensors, StartOfRun } from '../recipe.ts';
import { drawForEncoding } from '../vae-codec.ts';
import { noisedTo, repeatAll, strengthWindow } from './image.ts';

interface Inpainting {
  readonly strength: number;
  /** True: the denoiser reads the mask and the masked picture. */
  readonly readsMask: boolean;
}

/**
 * Starts from the inputs `image` [n, 3, h, w] in [-1, 1] and `mask` [n, 1, h, w] (1 where the picture is repainted),
 * and from the optional `latents` (noise) and `maskedImageLatents`.
 */
export function inpainting(codec: LatentCodec, { strength, readsMask }: Inpainting): LatentStart {
  return {
    strength,
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
    ...(!readsMask && { afterStep: restoreKept }),
  };
}

/** Latents with the kept part replaced by the picture's, at the noise level of the next step. */
function restoreKept(latents: Tensor, run: StartOfRun, tensors: NamedTensors, i: number): Tensor {
  const { imageLatents, noise, mask } = tensors;
  const kept = i + 1 < run.window.end ? noisedTo(run, imageLatents!, noise!, i + 1) : imageLatents!;
  return map(
    ['add', ['mul', ['sub', 1, ['in', 2]], ['in', 0]], ['mul', ['in', 2], ['in', 1]]],
    [kept, latents, mask!.slice(0, 0, run.call.images)],
  );
}

/**
 * Draws the noise with which diffusers encodes the masked picture, though no denoiser reads it here: keeps seeds equal.
 */
function skipMaskedImage({ call, generators, dtype, device }: StartOfRun, count: number): void {
  const shape = [count, ...call.latentShape.slice(1)];
  scope(() => void drawForEncoding(generators, shape, dtype, device));
}

/** `image` with 0 (grey) in the repainted part; a single image or mask is repeated for several of the other. */
function withoutMasked(image: Tensor, mask: Tensor): Tensor {
  const count = Math.max(image.shape[0]!, mask.shape[0]!);
  return map(['mul', ['in', 0], ['sub', 1, ['in', 1]]], [repeatAll(image, count), repeatAll(mask, count)]);
}
