// C = A·B in float32 for matmul and for convolution as an implicit product: B's columns are pixels and are gathered
// while they are packed, so the unfolded image never exists. Split over rows and columns of C, never over k: results
// do not depend on the number of threads.

import type { DType } from '@darkroom/core';
import { sizeOf } from './elements.ts';
import type { Engine } from './engine.ts';
import type { Tile } from './micro.ts';
import { packingCost, preparePacking } from './packing.ts';
import type { Operand, Packable, Packed, Packing } from './packing.ts';
import { emitProduct } from './product-code.ts';
import type { ProductCode, Side } from './product-code.ts';

/** Register blocks worth trying; the first is the default. */
export const tiles: readonly Tile[] = [
  { mr: 6, nr: 8, kc: 512, mc: 48 },
  { mr: 4, nr: 8, kc: 512, mc: 48 },
];

/** Strides in elements; C is float32. `batches` are element offsets [a, b, c]. */
export interface ProductSpec {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: { readonly dtype: DType; readonly row: number; readonly k: number };
  readonly b: { readonly dtype: DType; readonly k: number; readonly column: number };
  readonly c: { readonly row: number; readonly column: number };
  readonly batches: readonly (readonly [number, number, number])[];
  /** The operand that may stay the same from call to call, and then can be packed once. */
  readonly weight?: Side;
  /** For convolution: element offset of each k and each column in B, and of each column in C; strides are ignored then. */
  readonly gather?: { readonly k: Int32Array; readonly columns: Int32Array; readonly outputs: Int32Array };
}

export type ProductRun = (a: number, b: number, c: number) => void;

/** Columns packed at a time by one thread; its block of B stays in the second-level cache. */
const widest = 512;

export function prepareProduct(engine: Engine, spec: ProductSpec, tile: Tile): Packable<ProductRun> {
  const { m, n, k, a, b, c, batches, gather, weight } = spec;
  if (m === 0 || n === 0 || batches.length === 0) return { run() {} };
  const [sa, sb] = [sizeOf[a.dtype], sizeOf[b.dtype]];
  const scaled = (t: Int32Array, by: number): number => engine.table(t.map((v) => v * by));
  const tables = gather
    ? [scaled(gather.k, sb), scaled(gather.columns, sb), scaled(gather.outputs, 4)]
    : [0, 0, 0];
  /** `side`: of the weight whose packed copy is read, when it is packed. */
  const build = (side?: Side, packing?: Packing): ProductRun => {
    const traits: ProductCode = {
      a: side === 'a' ? 'float32' : a.dtype,
      b: side === 'b' ? 'float32' : b.dtype,
      gather: gather !== undefined,
      relaxed: engine.relaxed,
      packed: side,
    };
    const key = `product ${JSON.stringify({ ...tile, ...traits })}`;
    const code = engine.code(key, (module) => emitProduct(module, tile, traits));
    const { nTile, mTile } = split(spec, tile, engine.threads, side);
    const [nTiles, mTiles] = [Math.ceil(n / nTile), Math.ceil(m / mTile)];
    const depth = Math.min(k, tile.kc);
    // One register block, the panels of A (always for the full depth), the panels of B.
    engine.reserveScratch(
      4 * (tile.mr * tile.nr + tile.kc * (tile.mc + tile.mr) + depth * (nTile + tile.nr)) + 256,
    );
    const offsets = batches.flatMap(([x, y, z], i) => {
      const packedAt = packing?.offsets[i] ?? 0;
      return [side === 'a' ? packedAt : x * sa, side === 'b' ? packedAt : y * sb, z * 4];
    });
    const args = new Float64Array([
      0, 0, 0, m, n, k, a.row * sa, a.k * sa, b.k * sb, b.column * sb, c.row * 4, c.column * 4, nTile, nTiles, mTile, mTiles,
      engine.table(offsets), ...tables, packing?.paddedLanes ?? 0,
    ]); // prettier-ignore
    const jobs = batches.length * nTiles * mTiles;
    const work = 2 * m * n * k * batches.length;
    return (pa, pb, pc) => {
      args[0] = pa;
      args[1] = pb;
      args[2] = pc;
      engine.run(code, args, jobs, work);
    };
  };
  let packed: Packed<ProductRun> | undefined;
  return {
    run: build(),
    packed() {
      if (!weight || k === 0) return undefined;
      if (packed) return packed;
      const { mTile, nTile } = split(spec, tile, engine.threads);
      const times = weight === 'a' ? Math.ceil(n / nTile) : Math.ceil(m / mTile);
      const operand = operandOf(spec, weight);
      const packing = preparePacking(engine, operand, weight === 'a' ? tile.mr : tile.nr, tile.kc);
      packed = {
        bytes: packing.bytes,
        saves: packingCost * operand.lanes * k * batches.length * times,
        pack: packing.pack,
        run: build(weight, packing),
      };
      return packed;
    },
  };
}

function operandOf({ m, n, k, a, b, batches }: ProductSpec, side: Side): Operand {
  return side === 'a'
    ? { dtype: a.dtype, lanes: m, k, laneStride: a.row, kStride: a.k, offsets: batches.map((at) => at[0]) }
    : {
        dtype: b.dtype,
        lanes: n,
        k,
        laneStride: b.column,
        kStride: b.k,
        offsets: batches.map((at) => at[1]),
      };
}

/**
 * The part of C that one job makes, [m, n]. Each job packs its own rows of A and columns of B, if they are not `packed`, so
 * few jobs pack least; but they must be enough for all threads, and more of them even out threads that are disturbed.
 */
function split(
  { m, n, k, batches }: ProductSpec,
  { mr, nr }: Tile,
  threads: number,
  packed?: Side,
): { mTile: number; nTile: number } {
  const up = (x: number, to: number): number => Math.ceil(x / to) * to;
  let best = { mTile: up(m, mr), nTile: Math.min(widest, up(n, nr)) };
  if (threads === 1) return best;
  const [packA, packB] = [packed === 'a' ? 0 : packingCost, packed === 'b' ? 0 : packingCost];
  let least = Infinity;
  for (let parts = 1; parts <= 4 * threads; parts++) {
    const nTile = Math.min(widest, up(Math.ceil(n / parts), nr));
    for (let rowParts = 1; rowParts * parts <= 4 * threads; rowParts++) {
      const mTile = up(Math.ceil(m / rowParts), mr);
      const jobs = Math.ceil(n / nTile) * Math.ceil(m / mTile) * batches.length;
      const each = k * (mTile * nTile + packA * mTile + packB * nTile);
      const cost = (Math.ceil(jobs / threads) + 0.25) * each;
      if (cost < least) [least, best] = [cost, { mTile, nTile }];
    }
  }
  return best;
}
