// Latents on the way → a picture to look at. Reads the latents only, so that the final picture is the same without it.

import { keep, map, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '@darkroom/diffusers';
import type { StableDiffusionPipeline } from '@darkroom/diffusers';
import type { Picture } from './protocol.ts';

/** The first picture of a batch as its latents stand now; noise early on. */
export async function preview(pipe: StableDiffusionPipeline, latents: Tensor): Promise<Picture> {
  const pixels = scope(() => {
    const z = map(['div', ['in', 0], ['scalar', 0]], [latents], { scalars: [pipe.vae.scalingFactor] });
    const image = map(['add', ['mul', ['in', 0], 0.5], 0.5], [pipe.vae.decode(z)], { dtype: 'float32' });
    return keep(image);
  });
  try {
    const [, channels, height, width] = pixels.shape as [number, number, number, number];
    const values = (await pixels.data()) as Float32Array;
    const first = values.subarray(0, channels * height * width);
    return toPicture(Image.fromPlanes(first, channels, height, width));
  } finally {
    pixels.dispose();
  }
}

/** With an opaque alpha channel, as a canvas takes it. */
export function toPicture({ width, height, channels, data }: Image): Picture {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < channels; c++) rgba[i * 4 + c] = data[i * channels + c]!;
  }
  return { width, height, data: rgba };
}
