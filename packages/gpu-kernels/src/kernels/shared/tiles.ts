// Tiles of the products on vector units as data, and their order for a size.

import type { Traits } from '../../text/dispatch.ts';

/**
 * A tile of m × n outputs, k deep, by rows × columns invocations; all data, so that tuning can pick. `id` names the
 * choice.
 */
export interface Tile {
  readonly id: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly rows: number;
  readonly columns: number;
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

/** The tile of a choice, as '128x64x16'. */
export const tileOf = (choice: string): Tile => [...tiles, ...narrowTiles].find((t) => t.id === choice)!;

/** The size of a product. */
export interface ProductSize {
  /** `stacks` products of m × n, `k` deep in all. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly stacks: number;
}

/** Tiles for products on vector units, best guess first: least padding, then the largest, which reads least. */
function plainTiles(size: ProductSize, { unroll, compilePrice }: Traits): readonly Tile[] {
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
 * Software devices pay for each read of workgroup memory, which more results an invocation share, and for filling it;
 * and they compile slowly what is written out for many results (lavapipe: 7 ms a result, as long as 17,000
 * multiply-adds in each of 1,000 runs). Fitted to 17 sizes of emoji-64 on lavapipe (docs/results/2026-11-25-traces.md).
 */
function softwarePrice(t: Tile, size: ProductSize, compilePrice = 17_000): number {
  const reads = t.rows / t.m + t.columns / t.n;
  return paddedWork(t, size) * (1 + 2 * reads + 8 / t.m + 8 / t.n) + compilePrice * resultsOf(t);
}

/** Choices for a product on vector units: ids of tiles, best guess first. */
export const productChoices = (size: ProductSize, traits: Traits): readonly string[] =>
  plainTiles(size, traits).map((t) => t.id);
