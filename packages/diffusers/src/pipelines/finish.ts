// The end of a call: its latents as pictures, pixels or latents, as the user asked.

import { DarkroomError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
import type { CallOptions, StableDiffusionOutput } from './options.ts';
import type { Run } from './run.ts';

/** @throws DarkroomError that names the component which made NaN of the picture. */
export async function finish(
  run: Run,
  outputType: CallOptions['outputType'],
): Promise<StableDiffusionOutput> {
  const { latents, seeds, call } = run;
  const { codec } = run.recipe;
  if (outputType === 'latent') return { images: [], tensor: keep(latents.alias()), seeds };
  if (outputType === 'tensor')
    return { images: [], tensor: keep(run.within(() => codec.decode(latents, call))), seeds };
  // Sliced, each picture leaves the device before the next is decoded.
  const count = latents.shape[0]!;
  const parts = codec.slicing ? count : 1;
  const images: Image[] = [];
  for (let i = 0; i < parts; i++) {
    const [from, to] = [(i * count) / parts, ((i + 1) * count) / parts];
    const decode = (): Tensor => scope(() => codec.decode(latents.slice(0, from, to), call));
    const read = await readImages(run.within(decode));
    if (!read) throw await whoMadeNaN(run);
    images.push(...read);
  }
  return { images, seeds };
}

async function whoMadeNaN(run: Run): Promise<DarkroomError> {
  const { denoiser, codec } = run.recipe;
  const already = (await run.latents.data()).some(Number.isNaN);
  const who = already ? denoiser : codec;
  return new DarkroomError(
    `the picture has NaN, which ${already ? 'the denoising loop' : 'the decoder'} (${who.name}) made ` +
      `(weights ${who.dtype}, activations ${run.dtype}); debug.checkFinite = true finds the module`,
  );
}

/** [n, 3, h, w] in [0, 1] → pictures, undefined when there is NaN in them; frees it. */
async function readImages(pixels: Tensor): Promise<Image[] | undefined> {
  try {
    const [n, c, h, w] = pixels.shape as [number, number, number, number];
    const data = (await pixels.data()) as Float32Array;
    if (data.some(Number.isNaN)) return undefined;
    const size = c * h * w;
    return Array.from({ length: n }, (_, i) =>
      Image.fromPlanes(data.subarray(i * size, (i + 1) * size), c, h, w),
    );
  } finally {
    pixels.dispose();
  }
}
