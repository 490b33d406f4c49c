// Between pictures and the latents that the UNet works on: the VAE with its scaling, sampling and range.

import { concat, map, scope } from '@darkroom/core';
import type { Device, DType, Expr, Tensor } from '@darkroom/core';
import type { VaeLike } from '../models/types.ts';
import type { Generator } from '../random/generator.ts';
import { drawNoise } from './noise.ts';

/** image [n, 3, h, w] in [-1, 1] → latents [n, c, h/scale, w/scale] sampled from their distribution and scaled. */
export function encodeToLatents(vae: VaeLike, image: Tensor, generators: readonly Generator[]): Tensor {
  return scope(() => {
    const distribution = vae.encode(image);
    const { shape, dtype } = distribution.mean;
    const sample = distribution.sample(drawForEncoding(generators, shape, dtype, image.device));
    return map(['mul', ['in', 0], ['scalar', 0]], [sample], { scalars: [vae.scalingFactor] });
  });
}

/** The noise that sampling latents of `shape` takes. With one generator an image, the first of them draw. */
export function drawForEncoding(
  generators: readonly Generator[],
  shape: readonly number[],
  dtype: DType,
  device: Device,
): Tensor {
  return drawNoise(
    generators.length === 1 ? generators : generators.slice(0, shape[0]),
    shape,
    dtype,
    device,
  );
}

/**
 * Latents → [n, 3, h, w] in [0, 1], decoded in `dtype`. NaN stays NaN so that it is reported, not painted. `statistics`:
 * whether mean and deviation of the config count, as in SDXL and not in SD 1.x and 2.x.
 */
export function decodeToPixels(vae: VaeLike, latents: Tensor, dtype: DType, statistics = false): Tensor {
  return scope(() => {
    const image = vae.decode(unscaled(vae, latents, dtype, statistics));
    return map(['min', ['max', ['add', ['mul', ['in', 0], 0.5], 0.5], 0], 1], [image], { dtype: 'float32' });
  });
}

/** What the decoder takes: latents over the scaling factor, and by channel where the config has mean and deviation. */
function unscaled(vae: VaeLike, latents: Tensor, dtype: DType, statistics: boolean): Tensor {
  const divided: Expr = ['div', ['in', 0], ['scalar', 0]];
  const mean = vae.config['latents_mean'];
  const std = vae.config['latents_std'];
  if (!statistics || !Array.isArray(mean) || !Array.isArray(std))
    return map(divided, [latents], { scalars: [vae.scalingFactor], dtype });
  return concat(
    latents.chunk(latents.shape[1]!, 1).map((channel, c) =>
      map(['add', ['mul', divided, ['scalar', 1]], ['scalar', 2]], [channel], {
        scalars: [vae.scalingFactor, std[c] as number, mean[c] as number],
        dtype,
      }),
    ),
    1,
  );
}
