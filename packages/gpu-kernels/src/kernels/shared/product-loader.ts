// Loads a tile of an operand into workgroup memory; for productBody, and for bodies of a backend's own.

import type { Shader } from '../../text/shader.ts';

/** An operand of a product: texts that read quads of it. */
export interface Operand {
  /** The index along which neighbouring invocations load: the one that is adjacent in memory. */
  readonly along: 'k' | 'other';
  /** setup() is a few instructions and there is no tap(): may be repeated at each load. */
  readonly cheap: boolean;
  /** Statements that prepare loads of row (of A) or first column (of B) `index`; names end in `slot`. */
  setup(slot: string, index: string): string;
  /** Statements at the start of a tap. */
  tap?(slot: string): string;
  /** vec4: A at this row, k…k+3; or B at k, four columns. Zero beyond the end of k. */
  load(slot: string, k: string): string;
}

/** The division of an operand's tile, in quads, among a workgroup's invocations. */
export interface Cells {
  readonly array: string;
  readonly cells: number;
  readonly threads: number;
  /** Texts of a cell's row or first column, its depth within the tile, and its place in the array. */
  index(cell: string): string;
  depth(cell: string): string;
  place(cell: string): string;
  /** All cells of an invocation have the same index, so that one preparation serves them. */
  readonly shared: boolean;
  /** Converts a loaded quad to its form in workgroup memory; default: unchanged. */
  readonly convert?: (value: string) => string;
}

/**
 * Statements that fill a tile of an operand: invocation tid loads the cells tid, tid + threads, … in the order that
 * walks memory forwards. Unrolled where the device profits from many loads in flight, or where every cell has a costly
 * preparation of its own; else a loop, which a software device compiles several times faster.
 */
export function loader(s: Shader, o: Operand, c: Cells): { setup: string; tap: string; loads: string } {
  const { convert = (value: string): string => value } = c;
  const slots = Math.ceil(c.cells / c.threads);
  const slot0 = `${c.array}_0`;
  const partial = c.cells % c.threads !== 0;
  const load = (slot: string, cell: string): string =>
    `${c.array}[${c.place(cell)}] = ${convert(o.load(slot, `(k0 + ${c.depth(cell)})`))};`;
  if (!s.traits.unroll && (c.shared || o.cheap)) {
    const inside = c.shared ? '' : o.setup(slot0, `(${c.index('cell')})`);
    return {
      setup: c.shared ? o.setup(slot0, `(${c.index('tid')})`) : '',
      tap: c.shared ? (o.tap?.(slot0) ?? '') : '',
      loads: `for (var cell = tid; cell < ${s.u32(`${c.array}_cells`, c.cells)}; cell += ${c.threads}u) { ${inside} ${load(slot0, 'cell')} }`,
    };
  }
  const all = Array.from({ length: slots }, (_, i) => ({
    slot: `${c.array}_${c.shared ? 0 : i}`,
    cell: `(tid + ${i * c.threads}u)`,
    last: partial && i === slots - 1,
  }));
  const prepared = c.shared ? all.slice(0, 1) : all;
  return {
    setup: prepared.map(({ slot, cell }) => o.setup(slot, `(${c.index(cell)})`)).join('\n  '),
    tap: prepared.map(({ slot }) => o.tap?.(slot) ?? '').join('\n  '),
    loads: all
      .map(({ slot, cell, last }) =>
        last ? `if (${cell} < ${c.cells}u) { ${load(slot, cell)} }` : load(slot, cell),
      )
      .join('\n    '),
  };
}

/** The cells of A's tile: quads along k, a row after the other, each row `quads` wide (t.k / 4, and what pads it). */
export function cellsOfA(t: TileSize, a: Operand, threads: number, quads: number = t.k / 4): Cells {
  const kq = t.k / 4;
  const along = a.along === 'k';
  const row = (cell: string): string => (along ? `${cell} / ${kq}u` : `${cell} % ${t.m}u`);
  const quad = (cell: string): string => (along ? `${cell} % ${kq}u` : `${cell} / ${t.m}u`);
  return {
    array: 'tile_a',
    cells: t.m * kq,
    threads,
    index: (cell) => `row0 + ${row(cell)}`,
    depth: (cell) => `(${quad(cell)}) * 4u`,
    place: (cell) => (along && quads === kq ? cell : `(${row(cell)}) * ${quads}u + ${quad(cell)}`),
    shared: !along && threads % t.m === 0,
  };
}

/** The cells of B's tile: quads of columns, one k after the other, each `quads` wide (t.n / 4, and what pads it). */
export function cellsOfB(t: TileSize, b: Operand, threads: number, quads: number = t.n / 4): Cells {
  const nq = t.n / 4;
  const along = b.along === 'k';
  const depth = (cell: string): string => (along ? `${cell} % ${t.k}u` : `${cell} / ${nq}u`);
  const quad = (cell: string): string => (along ? `${cell} / ${t.k}u` : `${cell} % ${nq}u`);
  return {
    array: 'tile_b',
    cells: t.k * nq,
    threads,
    index: (cell) => `col0 + (${quad(cell)}) * 4u`,
    depth,
    place: (cell) => (!along && quads === nq ? cell : `(${depth(cell)}) * ${quads}u + ${quad(cell)}`),
    shared: !along && threads % nq === 0,
  };
}

interface TileSize {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}
