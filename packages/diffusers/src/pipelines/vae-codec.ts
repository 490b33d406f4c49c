// Conversion between pictures and latents with a VAE: scaling and shift, sampling, range of values, packing into
// patches.

import { concat, map, reshape, scope } from '@darkroom/core';
import type { Device, DType, Expr, Module, Tensor } from '@darkroom/core';
import { AutoencoderKL } from '../models/autoencoder-kl.ts';
import type { VaeLike } from '../models/types.ts';
import { vaeConfig } from '../models/vae-config.ts';
import type { VaeConfig } from '../models/vae-config.ts';
import type { Generator } from '../random/generator.ts';
import { drawNoise } from './noise.ts';
import type { LatentCodec, PixelSize } from './recipe.ts';

/** A family's use of its VAE. */
export interface VaeCodecOptions {
  /** dtype of decoding. */
  readonly dtype: DType;
  /** True: applies the config's latents_mean and latents_std, as SDXL does. Default false, as in SD 1.x and 2.x. */
  readonly statistics?: boolean;
  /** True: applies the config's shift_factor, as SD 3 and Flux do. Default false. */
  readonly shift?: boolean;
  /** Edge of the square of latents packed into one token of the denoiser; default 1: latents stay [n, c, h, w]. */
  readonly patch?: number;
}

/** The codec of a VAE. @see LatentCodec */
export class VaeCodec implements LatentCodec {
  readonly name = 'vae';
  readonly scale: number;
  readonly #vae: VaeLike;
  readonly #config: VaeConfig;
  readonly #options: VaeCodecOptions;

  constructor(vae: VaeLike, options: VaeCodecOptions) {
    this.#vae = vae;
    this.#config = vaeConfig(vae);
    this.#options = options;
    this.scale = vaeScale(vae) * this.#patch;
  }

  get #patch(): number {
    return this.#options.patch ?? 1;
  }
  get #shift(): number {
    return this.#options.shift ? this.#config.shiftFactor : 0;
  }
  get dtype(): DType {
    return this.#vae.dtype;
  }
  get slicing(): boolean {
    return this.#vae.slicing ?? false;
  }

  /** None while tiling is on: a plan of all tiles would be large, and bound to one size. */
  get decoders(): readonly Module[] {
    const vae = this.#vae;
    return vae instanceof AutoencoderKL && !vae.tiles ? [vae as unknown as Module] : [];
  }

  latentShape(images: number, { height, width }: PixelSize): readonly [number, number, number, number] {
    const scale = vaeScale(this.#vae);
    return [images, this.#config.latentChannels, height / scale, width / scale];
  }

  encode(image: Tensor, generators: readonly Generator[]): Tensor {
    return scope(() => {
      const distribution = this.#vae.encode(image);
      const { shape, dtype } = distribution.mean;
      const sample = distribution.sample(drawForEncoding(generators, shape, dtype, image.device));
      const { scalingFactor } = this.#vae;
      if (this.#shift === 0)
        return map(['mul', ['in', 0], ['scalar', 0]], [sample], { scalars: [scalingFactor] });
      return map(['mul', ['sub', ['in', 0], ['scalar', 1]], ['scalar', 0]], [sample], {
        scalars: [scalingFactor, this.#shift],
      });
    });
  }

  pack(latents: Tensor): Tensor {
    return this.#patch === 1 ? latents : packLatents(latents, this.#patch);
  }

  decode(latents: Tensor, { height, width }: PixelSize): Tensor {
    const scale = vaeScale(this.#vae);
    const size = [height / scale, width / scale] as const;
    return scope(() => {
      const unpacked = this.#patch === 1 ? latents : unpackLatents(latents, this.#patch, size);
      const image = this.#vae.decode(this.#unscaled(unpacked));
      return map(['min', ['max', ['add', ['mul', ['in', 0], 0.5], 0.5], 0], 1], [image], {
        dtype: 'float32',
      });
    });
  }

  /** The decoder's input: latents divided by the scaling factor, plus the shift or each channel's statistics. */
  #unscaled(latents: Tensor): Tensor {
    const { dtype, statistics = false } = this.#options;
    const { scalingFactor } = this.#vae;
    const { latentsMean: mean, latentsStd: std } = this.#config;
    const divided: Expr = ['div', ['in', 0], ['scalar', 0]];
    if (!statistics || !mean || !std) {
      const shift = this.#shift;
      if (shift === 0) return map(divided, [latents], { scalars: [scalingFactor], dtype });
      return map(['add', divided, ['scalar', 1]], [latents], { scalars: [scalingFactor, shift], dtype });
    }
    return concat(
      latents.chunk(latents.shape[1]!, 1).map((channel, c) =>
        map(['add', ['mul', divided, ['scalar', 1]], ['scalar', 2]], [channel], {
          scalars: [scalingFactor, std[c]!, mean[c]!],
          dtype,
        }),
      ),
      1,
    );
  }

  widest(images: number, { height, width }: PixelSize): readonly (readonly number[])[] {
    const count = this.slicing ? 1 : images;
    const pixels = [[count, 3, height, width]];
    const vae = this.#vae;
    if (vae instanceof AutoencoderKL && !vae.tiles)
      pixels.push([count, vae.blockOutChannels[0]!, height, width]);
    return pixels;
  }
}

/** Pixels per latent: 2^(levels - 1) of the VAE. */
export function vaeScale({ blockOutChannels }: VaeLike): number {
  return 2 ** (blockOutChannels.length - 1);
}

/**
 * Noise of `shape` for sampling encoded latents; with one generator for each image, from the first shape[0] of them.
 */
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
 * [n, c, h, w] → tokens [n, (h/patch)·(w/patch), c·patch²], rows of patches first. Reference: diffusers' FluxPipeline,
 * _pack_latents, whose patch is 2. h and w must be divisible by `patch`.
 */
export function packLatents(latents: Tensor, patch: number): Tensor {
  const [n, c, h, w] = latents.shape as [number, number, number, number];
  const [rows, columns] = [h / patch, w / patch];
  const squares = reshape(latents, [n, c, rows, patch, columns, patch]).permute(0, 2, 4, 1, 3, 5);
  return reshape(squares, [n, rows * columns, c * patch * patch]);
}

/** The inverse of packLatents for latents of `h` x `w`. */
export function unpackLatents(tokens: Tensor, patch: number, [h, w]: readonly [number, number]): Tensor {
  const [n, , width] = tokens.shape as [number, number, number];
  const c = width / (patch * patch);
  const squares = reshape(tokens, [n, h / patch, w / patch, c, patch, patch]).permute(0, 3, 1, 4, 2, 5);
  return reshape(squares, [n, c, h, w]);
}
