// Tiles of the products as data, and which to try first for a size.

import type { DType, Precision } from '@darkroom/core';
import type { Traits } from '../text/shader.ts';

/** A tile of m × n outputs, k deep, by rows × columns invocations; all data, so that tuning can pick. */
export interface Tile {
  readonly id: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly columns: number;
  /** On tensor cores, by two rows of warps. */
  readonly tensor?: boolean;
}

const tile = (m: number, n: number, k: number, rows: number, columns: number): Tile => ({
  id: `${m}x${n}x${k}`,
  m,
  n,
  k,
  rows,
  columns,
});
const tiles: readonly Tile[] = [
  tile(64, 128, 16, 8, 8),
  tile(128, 64, 16, 8, 8),
  tile(64, 64, 16, 8, 8),
  tile(32, 64, 16, 8, 8),
  tile(32, 32, 16, 8, 8),
  tile(16, 64, 16, 4, 16),
  tile(8, 64, 16, 4, 16),
];

/** For software devices: few invocations, with as many results each as such a device compiles in half a second. */
const narrow = (m: number, n: number, rows: number, columns: number): Tile => ({
  ...tile(m, n, 16, rows, columns),
  id: `${m}x${n}x16by${rows * columns}`,
});
const narrowTiles: readonly Tile[] = [
  narrow(64, 32, 8, 4),
  narrow(32, 64, 4, 8),
  narrow(32, 32, 4, 4),
  narrow(16, 64, 2, 8),
  narrow(16, 32, 2, 4),
];

/** n fits the channel counts of Stable Diffusion, which are multiples of 320. */
const tensorTile = (m: number, n: number, warps: number): Tile => ({
  ...tile(m, n, 32, 2 * warps, 16),
  id: `mma${m}x${n}`,
  tensor: true,
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
  traits: Traits,
  a: DType,
  b: DType,
  precision: Precision | undefined,
): TensorElement | undefined {
  if (a !== b || !traits.tensorCores?.has(a)) return undefined;
  if (a === 'float32') return precision === 'tf32' ? 'tf32' : undefined;
  return a === 'float16' ? 'f16' : 'bf16';
}

/** What a choice of a product names: its tile, and how many workgroups share a tile's sum. */
export interface Pick {
  readonly tile: Tile;
  readonly splits: number;
}
/** The pick of a choice, '128x64x16' or 'mma128x160' or, in four parts of the sum, 'mma128x160/4'. */
export function pickOf(id: string): Pick {
  const [name, splits = '1'] = id.split('/');
  return {
    tile: [...tiles, ...narrowTiles, ...tensorTiles].find((t) => t.id === name)!,
    splits: Number(splits),
  };
}

export interface ProductSize {
  /** `stacks` products of m × n, `k` deep in all. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly stacks: number;
}

/** Tiles for products on vector units, best guess first: least padding, then the largest, which reads least. */
export function plainTiles(size: ProductSize, { unroll, compilePrice }: Traits): readonly Tile[] {
  const price = unroll
    ? // GPUs run short of registers with more than 64 results an invocation: such tiles are for tuning only.
      (t: Tile) => paddedWork(t, size) * (1 + 4 / t.m + 4 / t.n) * (resultsOf(t) > 64 ? 1.5 : 1)
    : (t: Tile) => softwarePrice(t, size, compilePrice);
  return (unroll ? tiles : [...tiles, ...narrowTiles]).toSorted((a, b) => price(a) - price(b));
}

/** Multiply-adds, with those past the edges. */
const paddedWork = (t: Tile, { m, n, k, stacks }: ProductSize): number =>
  Math.ceil(m / t.m) * t.m * Math.ceil(n / t.n) * t.n * k * stacks;
const resultsOf = (t: Tile): number => (t.m * t.n) / (t.rows * t.columns);

/**
 * Software devices pay for each read of workgroup memory, which more results an invocation share, and for filling it; and
 * they compile slowly what is written out for many results (lavapipe: 7 ms a result, as long as 17,000 multiply-adds in
 * each of 1,000 runs). Fitted to 17 sizes of emoji-64 on lavapipe (docs/results/2026-11-25-traces.md).
 */
function softwarePrice(t: Tile, size: ProductSize, compilePrice = 17_000): number {
  const reads = t.rows / t.m + t.columns / t.n;
  return paddedWork(t, size) * (1 + 2 * reads + 8 / t.m + 8 / t.n) + compilePrice * resultsOf(t);
}

/** How many of the tensor picks are worth the tuner's time. */
const tensorCandidates = 8;
/** Splits leave each workgroup this much depth. */
const leastDepth = 256;

/**
 * Picks for products on tensor cores, best guess first, by a model of their time: workgroups come in turns of one for
 * each processor, a tile's sums cost its area times its depth plus what its edges load, and parts of a sum are written
 * and read once more. `split`: sums may be shared.
 */
export function tensorPicks(size: ProductSize, processors: number, split: boolean): readonly Pick[] {
  const { m, n, k, stacks } = size;
  const priced = tensorTiles.flatMap((t) =>
    [1, 2, 4, 8, 16].flatMap((splits) => {
      if (splits > 1 && (!split || k / splits < leastDepth)) return [];
      const blocks = Math.ceil(m / t.m) * Math.ceil(n / t.n) * stacks * splits;
      const turns = Math.ceil(blocks / processors);
      const work = turns * t.m * t.n * (k / splits) * (1 + 24 / t.m + 24 / t.n);
      // In the same unit: about 370 multiply-adds pass while a float is written and read, and 3e6 while a kernel starts.
      const parts = splits === 1 ? 0 : (370 * splits * m * n * stacks) / processors + 3e6;
      return [{ tile: t, splits, price: work + parts }];
    }),
  );
  priced.sort((a, b) => a.price - b.price);
  return priced.slice(0, tensorCandidates);
}

/**
 * Choices for a product. `tensor`: whether tensor cores multiply it, and 'split' where parts of the sum may be shared.
 */
export function productChoices(
  size: ProductSize,
  traits: Traits,
  tensor: boolean | 'split',
): readonly string[] {
  const plain = plainTiles(size, traits).map((t) => t.id);
  // Less than half a small tile is not worth a warp's matrices.
  if (!tensor || size.m < 16 || size.n < 16) return plain;
  const picks = tensorPicks(size, traits.processors ?? 1, tensor === 'split');
  return [...picks.map((p) => (p.splits === 1 ? p.tile.id : `${p.tile.id}/${p.splits}`)), ...plain];
}
