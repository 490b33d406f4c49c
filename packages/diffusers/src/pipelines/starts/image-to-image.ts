// Image to image: the loop starts from a picture with noise mixed in.
// Reference: diffusers' StableDiffusionImg2ImgPipeline, including the order in which noise is drawn.

import { drawNoise } from '../noise.ts';
import type { LatentCodec, LatentStart } from '../recipe.ts';
import { noisedTo, repeatAll, strengthWindow } from './image.ts';

/** Starts from the input `image` with noise: pixels [n, 3, h, w] in [-1, 1], or scaled latents if `isLatents`. */
export function imageToImage(
  codec: LatentCodec,
  { strength, isLatents }: { readonly strength: number; readonly isLatents: boolean },
): LatentStart {
  return {
    strength,
    window: (schedule, call) => strengthWindow(schedule, call.schedule.numInferenceSteps, strength),
    begin: (run, given) => {
      const { call, generators, device } = run;
      const image = given['image']!;
      // With a generator for each image, the picture is repeated before encoding: each image samples its own latents.
      const batch = generators.length > 1 ? repeatAll(image, call.images) : image;
      const encoded = isLatents ? batch : codec.encode(batch, generators);
      const clean = repeatAll(encoded, call.images);
      const noise = drawNoise(generators, clean.shape, clean.dtype, device);
      return { latents: codec.pack(noisedTo(run, clean, noise, run.window.begin)) };
    },
  };
}
