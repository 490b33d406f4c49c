// Tiles of the products on tensor cores as data, by two rows of warps, and their order for a size.

import type { DType } from '@darkroom/core';
import type { Precision } from '@darkroom/core/backend';
import type { ProductSize, Tile } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../../traits.ts';

/** n fits the channel counts of Stable Diffusion, which are multiples of 320. */
const tensorTile = (m: number, n: number, warps: number): Tile => ({
  id: `mma${m}x${n}`,
  m,
  n,
  k: 32,
  rows: 2 * warps,
  columns: 16,
});
const tensorTiles: readonly Tile[] = [
  tensorTile(128, 256, 8),
  tensorTile(128, 160, 4),
  tensorTile(128, 128, 4),
  tensorTile(128, 64, 4),
  tensorTile(64, 160, 4),
  tensorTile(64, 64, 4),
  tensorTile(64, 32, 4),
];

/** The formats that tensor cores multiply. */
export type TensorElement = 'f16' | 'bf16' | 'tf32';

/** The format of the tiles on tensor cores, when both operands are of it and the device has them for it. */
export function tensorElement(
  traits: CudaTraits,
  a: DType,
  b: DType,
  precision: Precision | undefined,
): TensorElement | undefined {
  if (a !== b || !traits.tensorCores.has(a)) return undefined;
  if (a === 'float32') return precision === 'tf32' ? 'tf32' : undefined;
  return a === 'float16' ? 'f16' : 'bf16';
}

/** The content of a choice's id: the tile, and the number of workgroups that share a tile's sum. */
export interface TensorPick {
  readonly tile: Tile;
  readonly splits: number;
}

/** The pick of a choice, 'mma128x160' or, in four parts of the sum, 'mma128x160/4'; undefined for other choices. */
export function tensorPickOf(choice: string): TensorPick | undefined {
  const [name, splits = '1'] = choice.split('/');
  const tile = tensorTiles.find((t) => t.id === name);
  return tile && { tile, splits: Number(splits) };
}

/** The most tensor picks that the tuner measures. */
const tensorCandidates = 8;
/** Splits leave each workgroup this much depth. */
const leastDepth = 256;

/**
 * Picks for products on tensor cores, best guess first, by a model of their time: workgroups come in turns of one for
 * each processor, a tile's sums cost its area times its depth plus what its edges load, and parts of a sum are written
 * and read once more. `split`: sums may be shared.
 */
function tensorPicks(size: ProductSize, processors: number, split: boolean): readonly TensorPick[] {
  const { m, n, k, stacks } = size;
  const priced = tensorTiles.flatMap((t) =>
    [1, 2, 4, 8, 16].flatMap((splits) => {
      if (splits > 1 && (!split || k / splits < leastDepth)) return [];
      const blocks = Math.ceil(m / t.m) * Math.ceil(n / t.n) * stacks * splits;
      const turns = Math.ceil(blocks / processors);
      const work = turns * t.m * t.n * (k / splits) * (1 + 24 / t.m + 24 / t.n);
      // In the same unit: about 370 multiply-adds pass while a float is written and read, and 3e6 while a kernel
      // starts.
      const parts = splits === 1 ? 0 : (370 * splits * m * n * stacks) / processors + 3e6;
      return [{ tile: t, splits, price: work + parts }];
    }),
  );
  priced.sort((a, b) => a.price - b.price);
  return priced.slice(0, tensorCandidates);
}

/** Choices on tensor cores for a product, best guess first. `split`: its sums may be shared by workgroups. */
export function tensorChoices(size: ProductSize, traits: CudaTraits, split: boolean): readonly string[] {
  // Less than half a small tile is not worth a warp's matrices, unless the sum is long: then the product is bound by
  // reading its weight, and a plain tile reads it a hundred times slower (H200: 0.1 ms for 2x1280x1280, 2026-11-27).
  if ((size.m < 16 || size.n < 16) && size.k < leastDepth) return [];
  const picks = tensorPicks(size, traits.processors, split);
  return picks.map((p) => (p.splits === 1 ? p.tile.id : `${p.tile.id}/${p.splits}`));
}
