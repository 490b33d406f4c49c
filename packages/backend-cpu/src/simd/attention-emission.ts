// Shared by the code of attention.ts: argument words, the places of a tile's data in scratch memory, locals.

import type { DType } from '@darkroom/core';
import type { FunctionBuilder, Local } from './emitter.ts';
import type { Tile } from './micro.ts';

/** The mask that is added to scores. */
export type Kind = 'none' | 'causal' | 'additive';

/** Queries are columns and keys rows of the register block. */
export const tile: Tile = { mr: 6, nr: 8, kc: 0, mc: 0 };
/** Bytes of a row of scores: eight queries. */
export const panel: number = 4 * tile.nr;
/** Keys of a block: a multiple of mr. */
export const keyBlock = 96;
const word = {
  q: 0, k: 1, v: 2, mask: 3, out: 4, queries: 5, keys: 6, size: 7, qRow: 8, kRow: 9, vRow: 10, outRow: 11, maskRow: 12,
  maskColumn: 13, scale: 14, batches: 15, blocks: 16, padded: 17, block: 18, qStep: 19, kStep: 20, vStep: 21,
} as const; // prettier-ignore

/** Function indices. */
export interface Parts {
  readonly micro: number;
  readonly packQ: number;
  readonly packK: number;
  readonly packV: number;
}

/** The shared state of the code's parts. Locals that are addresses count bytes; others count rows or elements. */
export interface Emission {
  readonly f: FunctionBuilder;
  readonly kind: Kind;
  readonly parts: Parts;
  readonly outType: DType;
  readonly relaxed: boolean;
  /** Pushes an argument word. */
  arg(w: keyof typeof word): void;
  /** to = base + factors multiplied. */
  place(to: Local, base: Local, ...factors: readonly (Local | number)[]): void;
  /** Pushes min(step, whole - from). */
  least(whole: Local, from: Local, step: Local | number): void;
  readonly q: Local;
  readonly k: Local;
  readonly v: Local;
  readonly mask: Local;
  readonly out: Local;
  /** Number of the tile, its scratch memory, and the element offsets of its head. */
  readonly index: Local;
  readonly scratch: Local;
  readonly batch: Local;
  /** First query of the tile, its queries; first key of the block, its keys. */
  readonly first: Local;
  readonly rows: Local;
  readonly key: Local;
  readonly columns: Local;
  /** Queries of a whole tile; where queries or keys end. */
  readonly blockSize: Local;
  readonly end: Local;
  /** Width of a head, and rounded up to the tile's rows. */
  readonly size: Local;
  readonly padded: Local;
  /** Parts of scratch memory. */
  readonly scores: Local;
  readonly highest: Local;
  readonly total: Local;
  readonly lines: Local;
  readonly qPack: Local;
  readonly acc: Local;
  readonly kPack: Local;
  readonly vPack: Local;
  /** First query of the panel, and counters that every part may change. */
  readonly p: Local;
  readonly i: Local;
  readonly at: Local;
  readonly sums: Local;
  readonly statistic: Local;
  readonly source: Local;
}

/** Declares the locals of a tile's function; nothing is computed yet. */
export function beginEmission(
  f: FunctionBuilder,
  kind: Kind,
  parts: Parts,
  outType: DType,
  relaxed: boolean,
): Emission {
  const [args, index, scratch] = f.params as [Local, Local, Local];
  const [q, k, v, mask, out, batch] = f.locals('i32', 6);
  const [first, rows, key, end, columns, size, padded] = f.locals('i32', 7);
  const [scores, highest, total, lines, qPack, acc, kPack, vPack] = f.locals('i32', 8);
  const [p, i, at, sums, statistic] = f.locals('i32', 5);
  const [blockSize, source] = f.locals('i32', 2);
  const push = (x: Local | number): void => void (typeof x === 'number' ? f.i32(x) : f.get(x));
  return {
    f,
    kind,
    parts,
    outType,
    relaxed,
    arg: (w) => void f.get(args).mem('i32.load', word[w] * 4),
    place(to, base, ...factors) {
      factors.forEach((x, n) => (push(x), n > 0 && f.op('i32.mul')));
      f.get(base).op('i32.add').set(to);
    },
    least(whole, from, step) {
      f.get(whole).get(from).op('i32.sub').set(at);
      f.get(at);
      push(step);
      f.get(at);
      push(step);
      f.op('i32.lt_u').op('select');
    },
    ...{ index, scratch, q, k, v, mask, out, batch, first, rows, key, end, columns, size, padded, blockSize },
    ...{ scores, highest, total, lines, qPack, acc, kPack, vPack, p, i, at, sums, statistic, source },
  };
}
