// Memory switches of the VAE: a batch item by item (slicing), a picture in overlapping, blended tiles (tiling). Both
// write into one result tensor: memory beside it does not grow with the batch or the picture.
// Reference: diffusers' AutoencoderKL.tiled_decode and tiled_encode, whose blending is reproduced.

import { ArgumentError, checkOptions, copy, map, scope, zeros } from '@darkroom/core';
import { assign } from '@darkroom/core/backend';
import type { Tensor } from '@darkroom/core';

/** Options of the VAE's tiling. */
export interface TilingOptions {
  /** Edge of a tile in pixels; default: the VAE's training size. */
  readonly tileSize?: number;
  /** Part of a tile that overlaps the next, from 0 to below 1; default 0.25. */
  readonly overlap?: number;
}

/** Sizes of tiles in latents. */
export interface Tiles {
  readonly size: number;
  /** Distance from one tile to the next; the overlap, size - stride, is blended. */
  readonly stride: number;
}

/** Tiles of the options; `trained`: config.sample_size, `scale`: pixels per latent. @throws ArgumentError */
export function tilesOf(options: TilingOptions, trained: number, scale: number): Tiles {
  checkOptions('enableTiling', options, { tileSize: true, overlap: true });
  const { tileSize = trained - (trained % scale), overlap = 0.25 } = options;
  if (!Number.isInteger(tileSize) || tileSize < scale || tileSize % scale !== 0) {
    throw new ArgumentError(
      `enableTiling: tileSize must be a multiple of ${scale} (the VAE's scale) of at least ${scale}, got ${tileSize}`,
    );
  }
  if (!(overlap >= 0 && overlap < 1))
    throw new ArgumentError(`enableTiling: overlap must be from 0 to below 1, got ${overlap}`);
  const size = tileSize / scale;
  return { size, stride: Math.max(1, Math.trunc(size * (1 - overlap))) };
}

/** Applies f to each item of the batch; the results in one tensor. */
export function sliced(x: Tensor, f: (item: Tensor) => Tensor): Tensor {
  const n = x.shape[0]!;
  if (n === 1) return f(x);
  let out: Tensor | undefined;
  for (let i = 0; i < n; i++) {
    out = scope(() => {
      const item = f(x.slice(0, i, i + 1));
      const whole = out ?? emptyLike(item, [n, ...item.shape.slice(1)]);
      assign(item, whole.slice(0, i, i + 1));
      return whole;
    });
  }
  return out!;
}

/**
 * Applies f to overlapping tiles of x [n, c, h, w] and blends the results. An edge of one latent is `unit` elements of
 * x and `outUnit` of f's result: with the VAE's scale 8, decoding has 1 and 8, encoding 8 and 1.
 */
export function tiled(
  x: Tensor,
  { size, stride }: Tiles,
  unit: number,
  outUnit: number,
  f: (tile: Tensor) => Tensor,
): Tensor {
  const [n, , h, w] = x.shape as [number, number, number, number];
  if (h % unit !== 0 || w % unit !== 0) {
    throw new ArgumentError(
      `tiling: height and width must be multiples of ${unit} (the VAE's scale), got ${h} and ${w}`,
    );
  }
  const [step, limit, extent] = [stride * unit, stride * outUnit, (size - stride) * outUnit];
  let out: Tensor | undefined;
  /** Bottom edges of the row of tiles above, after blending. */
  let above: Tensor[] = [];
  for (let top = 0; top < h; top += step) {
    const below: Tensor[] = [];
    let before: Tensor | undefined;
    for (let left = 0; left < w; left += step) {
      const neighbour = above[below.length];
      const made = scope(() => {
        const window = x.slice(2, top, Math.min(h, top + size * unit));
        const tile = f(copy(window.slice(3, left, Math.min(w, left + size * unit))));
        if (neighbour) blend(neighbour, tile, 2, extent);
        if (before) blend(before, tile, 3, extent);
        const shape = [n, tile.shape[1]!, (h / unit) * outUnit, (w / unit) * outUnit];
        const whole = out ?? emptyLike(tile, shape);
        const [rows, columns] = [Math.min(limit, tile.shape[2]!), Math.min(limit, tile.shape[3]!)];
        const [y, x0] = [(top / step) * limit, (left / step) * limit];
        assign(
          tile.slice(2, 0, rows).slice(3, 0, columns),
          whole.slice(2, y, y + rows).slice(3, x0, x0 + columns),
        );
        return { whole, bottom: copy(edge(tile, 2, extent)), right: copy(edge(tile, 3, extent)) };
      });
      out = made.whole;
      below.push(made.bottom);
      before?.dispose();
      before = made.right;
    }
    before?.dispose();
    for (const strip of above) strip.dispose();
    above = below;
  }
  for (const strip of above) strip.dispose();
  return out!;
}

/** The last `extent` elements along an axis, or all if there are fewer. */
function edge(x: Tensor, axis: number, extent: number): Tensor {
  const length = x.shape[axis]!;
  return x.slice(axis, length - Math.min(extent, length));
}

/** Blends the end of `a` into the start of `b`, in place. */
function blend(a: Tensor, b: Tensor, axis: 2 | 3, extent: number): void {
  const length = Math.min(a.shape[axis]!, b.shape[axis]!, extent);
  if (length === 0) return;
  const part = b.slice(axis, 0, length);
  const weight = ['div', ['index', axis], ['scalar', 0]] as const;
  const faded = map(
    ['add', ['mul', ['in', 0], ['sub', 1, weight]], ['mul', ['in', 1], weight]],
    [edge(a, axis, length), part],
    { scalars: [length], dtype: b.dtype },
  );
  assign(faded, part);
}

/** Memory of `shape` in the dtype, device and memory format of x; zeros until written. */
function emptyLike(x: Tensor, shape: readonly number[]): Tensor {
  const options = { device: x.deviceOrNone, dtype: x.dtype };
  if (x.memoryFormat !== 'channelsLast') return zeros(shape, options);
  const [n, c, h, w] = shape as [number, number, number, number];
  return zeros([n, h, w, c], options).permute(0, 3, 1, 2);
}
