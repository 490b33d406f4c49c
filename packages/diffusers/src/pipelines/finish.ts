// The end of a call: converts its latents to the outputType: images, pixels or latents.

import { DarkroomError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
import { packPixels, unpackPixels } from '../image/packed.ts';
import type { PictureParameters } from '../parameters/parameters.ts';
import type { CallOptions, StableDiffusionOutput } from './options.ts';
import type { Run } from './run.ts';

/** The output of a run; `drawnWith` is what its pictures tell. @throws DarkroomError that names the denoiser or the decoder if pixels are NaN. */
export async function finish(
  run: Run,
  outputType: CallOptions['outputType'],
  drawnWith: readonly PictureParameters[] | undefined,
): Promise<StableDiffusionOutput> {
  const { latents, seeds, call } = run;
  const { codec } = run.recipe;
  if (outputType === 'latent') return { images: [], tensor: keep(latents.alias()), seeds };
  if (outputType === 'tensor')
    return { images: [], tensor: keep(run.within(() => codec.decode(latents, call))), seeds };
  // With slicing, each picture is read back and freed before the next is decoded.
  const count = latents.shape[0]!;
  const parts = codec.slicing ? count : 1;
  const images: Image[] = [];
  for (let i = 0; i < parts; i++) {
    const [from, to] = [(i * count) / parts, ((i + 1) * count) / parts];
    const decode = (): Tensor => scope(() => packPixels(codec.decode(latents.slice(0, from, to), call)));
    const read = await readImages(run.within(decode));
    if (!read) throw await nanError(run);
    images.push(...read);
  }
  return { images: images.map((image, i) => image.withParameters(drawnWith?.[i])), seeds };
}

/** The error for NaN pixels: NaN latents blame the denoising loop, else the decoder. */
async function nanError(run: Run): Promise<DarkroomError> {
  const { denoiser, codec } = run.recipe;
  const already = (await run.latents.data()).some(Number.isNaN);
  const who = already ? denoiser : codec;
  return new DarkroomError(
    `the picture has NaN, which ${already ? 'the denoising loop' : 'the decoder'} (${who.name}) made ` +
      `(weights ${who.dtype}, activations ${run.dtype}); debug.checkFinite = true finds the module`,
  );
}

/** The pictures of packed pixels [n, h, w]; undefined if a value is NaN. Frees `words`. */
async function readImages(words: Tensor): Promise<Image[] | undefined> {
  try {
    const [n, h, w] = words.shape as [number, number, number];
    const data = (await words.data()) as Int32Array;
    const images: Image[] = [];
    for (let i = 0; i < n; i++) {
      const bytes = unpackPixels(data.subarray(i * h * w, (i + 1) * h * w));
      if (!bytes) return undefined;
      images.push(new Image(w, h, bytes));
    }
    return images;
  } finally {
    words.dispose();
  }
}
