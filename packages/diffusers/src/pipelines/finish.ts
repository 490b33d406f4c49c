// The end of a call: converts its latents to the outputType: images, pixels or latents.

import { cast, contiguous, DarkroomError, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
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
    const decode = (): Tensor => scope(() => codec.decode(latents.slice(0, from, to), call));
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

/** Pixels [n, 3, h, w] in [0, 1] → images; undefined if a value is NaN. Frees `pixels`. */
async function readImages(pixels: Tensor): Promise<Image[] | undefined> {
  try {
    const [n, c, h, w] = pixels.shape as [number, number, number, number];
    // The device orders and widens the values: the host would take longer than it takes to decode.
    using planes = scope(() => contiguous(cast(pixels, 'float32')));
    const data = (await planes.data()) as Float32Array;
    if (hasNaN(data)) return undefined;
    const size = c * h * w;
    return Array.from({ length: n }, (_, i) =>
      Image.fromPlanes(data.subarray(i * size, (i + 1) * size), c, h, w),
    );
  } finally {
    pixels.dispose();
  }
}

function hasNaN(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i] !== values[i]) return true;
  return false;
}
