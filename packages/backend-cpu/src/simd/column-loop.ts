// A tile of columns of a dense block [outer, length, inner], walked in strips: 16 columns, then 4, then single ones.
// A kernel along a middle axis (softmax, reductions) is written once and emitted for each strip width.

import type { FunctionBuilder, Local } from './emitter.ts';

/** Columns of one tile: strips of it share the cache lines of each row. */
export const tileColumns = 64;

export const columnWord = {
  x: 0,
  y: 1,
  length: 2,
  inner: 3,
  columnTiles: 4,
  rowStride: 5,
  outerStride: 6,
  group: 7,
} as const;

/** The strip that a body works on. */
export interface Strip {
  /** Vectors side by side. */
  readonly vectors: number;
  /** Address of the strip's first element in x; and the first address after its last row. */
  readonly x: Local;
  readonly end: Local;
  /** Bytes from row to row. */
  readonly stride: Local;
  /** The outer index, and the strip's first column in bytes. */
  readonly outer: Local;
  readonly column: Local;
  load(at: Local, vector: number): void;
  store(at: Local, value: Local, vector: number): void;
}

/** Argument words for `forStrips`; strides in elements of float32. */
export function columnArgs(s: {
  readonly length: number;
  readonly inner: number;
  readonly rowStride: number;
  readonly outerStride: number;
}): Float64Array {
  const columnTiles = Math.ceil(s.inner / tileColumns);
  return new Float64Array([0, 0, s.length, s.inner, columnTiles, 4 * s.rowStride, 4 * s.outerStride, 0]);
}

export function forStrips(f: FunctionBuilder, body: (strip: Strip) => void): void {
  const [args, index] = f.params as [Local, Local, Local];
  const arg = (w: keyof typeof columnWord): void => void f.get(args).mem('i32.load', 4 * columnWord[w]);
  const [outer, column, columnEnd, whole, x, end, stride, base] = f.locals('i32', 8);
  f.get(index);
  arg('columnTiles');
  f.op('i32.div_u').set(outer).get(index);
  arg('columnTiles');
  f.op('i32.rem_u');
  f.i32(4 * tileColumns)
    .op('i32.mul')
    .set(column);
  arg('inner');
  f.i32(4).op('i32.mul').set(whole);
  f.get(column)
    .i32(4 * tileColumns)
    .op('i32.add')
    .set(columnEnd);
  f.get(columnEnd).get(whole).get(columnEnd).get(whole).op('i32.lt_u').op('select').set(columnEnd);
  arg('rowStride');
  f.set(stride);
  arg('x');
  f.get(outer);
  arg('outerStride');
  f.op('i32.mul').op('i32.add').set(base);
  for (const bytes of [64, 16, 4]) {
    const vectors = Math.max(1, bytes / 16);
    f.while(
      () => void f.get(column).i32(bytes).op('i32.add').get(columnEnd).op('i32.le_u'),
      () => {
        f.get(base).get(column).op('i32.add').set(x);
        arg('length');
        f.get(stride).op('i32.mul').get(x).op('i32.add').set(end);
        body({
          vectors,
          x,
          end,
          stride,
          outer,
          column,
          load: (at, v) => void f.get(at).mem(bytes === 4 ? 'v128.load32_splat' : 'v128.load', 16 * v),
          store(at, value, v) {
            if (bytes === 4) f.get(at).get(value).laneMem('v128.store32_lane', 0);
            else
              f.get(at)
                .get(value)
                .mem('v128.store', 16 * v);
          },
        });
        f.bump(column, bytes);
      },
    );
  }
}
