// Pointwise expressions compiled to SIMD. One tile is a range of rows (outer coordinates) or, for a single row, a
// range of it. log, sin, cos, pow and output coordinates are left to the reference kernel (undefined): rare, and
// their accuracy over the whole range needs double precision.

import { exprKey } from '@darkroom/core/backend';
import type { DType, Expr } from '@darkroom/core';
import { loadSplat, loadStrided, loadVector, sizeOf, storeOne, storeVector } from './elements.ts';
import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { ExprEmitter, maxInputs, maxScalars, supportedExpr } from './map-expression.ts';

/** Strides in elements. */
export interface MapOperand {
  readonly dtype: DType;
  readonly strides: readonly number[];
}

export interface PreparedMap {
  /** Byte addresses of the inputs, then the output. */
  run(pointers: readonly number[], scalars: readonly number[]): void;
}

/** Outer dimensions a kernel can walk; more are never left after merging in practice. */
const maxOuter = 5;

/** Dimensions ordered by the output's strides, neighbours merged: [size, stride of each operand]. */
export function collapse(
  shape: readonly number[],
  operands: readonly (readonly number[])[],
): { size: number; strides: number[] }[] {
  const dims = shape
    .map((size, i) => ({ size, strides: operands.map((s) => s[i]!) }))
    .filter((d) => d.size !== 1)
    .sort((a, b) => b.strides.at(-1)! - a.strides.at(-1)!);
  const out: { size: number; strides: number[] }[] = [];
  for (const d of dims) {
    const outer = out.at(-1);
    if (outer?.strides.every((s, i) => s === d.strides[i]! * d.size)) {
      outer.size *= d.size;
      outer.strides = d.strides;
    } else out.push({ size: d.size, strides: [...d.strides] });
  }
  return out;
}

type Inner = 'vector' | 'splat' | 'strided';
const innerKind = (stride: number): Inner => (stride === 1 ? 'vector' : stride === 0 ? 'splat' : 'strided');

/** Argument words: rows, columns, rows a tile, columns a tile, outer sizes, then by operand: address, inner and outer strides in bytes. */
const word = { rows: 0, columns: 1, tileRows: 2, tileColumns: 3, sizes: 4, operands: 4 + maxOuter };
const operandWords = 2 + maxOuter;

export function prepareMap(
  engine: Engine,
  spec: { expr: Expr; shape: readonly number[]; inputs: readonly MapOperand[]; output: MapOperand },
): PreparedMap | undefined {
  const { expr, shape, inputs, output } = spec;
  if (!supportedExpr(expr) || inputs.length > maxInputs) return undefined;
  if (shape.some((d) => d === 0)) return { run() {} };
  const operands = [...inputs, output];
  const dims = collapse(
    shape,
    operands.map((o) => o.strides),
  );
  const inner = dims.pop() ?? { size: 1, strides: operands.map(() => 1) };
  if (dims.length > maxOuter) return undefined;
  const kinds = inner.strides.map(innerKind);
  const dtypes = operands.map((o) => o.dtype);
  const scalarsAt = word.operands + operands.length * operandWords;
  const key = `map ${exprKey(expr)} ${dtypes.join()} ${kinds.join()} ${dims.length}`;
  const code = engine.code(key, (module) => {
    module.add(
      ['i32', 'i32', 'i32'],
      (f) => emitTile(f, expr, dtypes, kinds, dims.length, scalarsAt),
      'tile',
    );
  });
  const rows = dims.reduce((n, d) => n * d.size, 1);
  const columns = inner.size;
  const perTile = 8192;
  const tileRows = rows === 1 ? 1 : Math.max(1, Math.floor(perTile / columns));
  const tileColumns = rows === 1 ? perTile * 2 : columns;
  const tiles = rows === 1 ? Math.ceil(columns / tileColumns) : Math.ceil(rows / tileRows);
  const args = new Float64Array(scalarsAt + maxScalars);
  args.set([rows, columns, tileRows, tileColumns]);
  dims.forEach((d, i) => (args[word.sizes + i] = d.size));
  operands.forEach((o, i) => {
    const at = word.operands + i * operandWords;
    args[at + 1] = inner.strides[i]! * sizeOf[o.dtype];
    dims.forEach((d, k) => (args[at + 2 + k] = d.strides[i]! * sizeOf[o.dtype]));
  });
  const bits = new Float32Array(1);
  const asWord = new Int32Array(bits.buffer);
  const work = rows * columns * 4 * (2 + exprKey(expr).length / 16);
  return {
    run(pointers, scalars) {
      pointers.forEach((p, i) => (args[word.operands + i * operandWords] = p));
      scalars.forEach((s, i) => {
        bits[0] = s;
        args[scalarsAt + i] = asWord[0]!;
      });
      engine.run(code, args, tiles, work);
    },
  };
}

// eslint-disable-next-line max-lines-per-function -- one kernel's code, in the order in which it runs
function emitTile(
  f: FunctionBuilder,
  expr: Expr,
  dtypes: readonly DType[],
  kinds: readonly Inner[],
  outer: number,
  scalarsAt: number,
): void {
  const [args, tile] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', w * 4);
  const i32 = (): Local => f.local('i32');
  const [row, rowEnd, column, columnEnd, count, rest, index] = f.locals('i32', 7);
  const pointers = dtypes.map(() => i32());
  const strides = kinds.map((k) => (k === 'strided' ? i32() : undefined));
  strides.forEach((s, i) => s && (arg(word.operands + i * operandWords + 1), f.set(s)));

  arg(word.rows);
  f.i32(1)
    .op('i32.eq')
    .if(
      () => {
        f.i32(0).set(row).i32(1).set(rowEnd);
        clampRange(
          f,
          tile,
          column,
          columnEnd,
          () => arg(word.tileColumns),
          () => arg(word.columns),
        );
      },
      () => {
        f.i32(0).set(column);
        arg(word.columns);
        f.set(columnEnd);
        clampRange(
          f,
          tile,
          row,
          rowEnd,
          () => arg(word.tileRows),
          () => arg(word.rows),
        );
      },
    );

  f.for(row, rowEnd, 1, () => {
    pointers.forEach((p, i) => {
      arg(word.operands + i * operandWords);
      f.get(column);
      arg(word.operands + i * operandWords + 1);
      f.op('i32.mul').op('i32.add').set(p);
    });
    f.get(row).set(rest);
    for (let d = outer - 1; d >= 0; d--) {
      f.get(rest);
      arg(word.sizes + d);
      f.op('i32.rem_u').set(index);
      f.get(rest);
      arg(word.sizes + d);
      f.op('i32.div_u').set(rest);
      pointers.forEach((p, i) => {
        f.get(p).get(index);
        arg(word.operands + i * operandWords + 2 + d);
        f.op('i32.mul').op('i32.add').set(p);
      });
    }
    f.get(columnEnd).get(column).op('i32.sub').set(count);
    const step = (lanes: number): void => {
      pointers.forEach((p, i) => {
        if (kinds[i] === 'vector') f.bump(p, lanes * sizeOf[dtypes[i]!]);
        else if (kinds[i] === 'strided')
          f.get(p).get(strides[i]!).i32(lanes).op('i32.mul').op('i32.add').set(p);
      });
      f.get(count).i32(lanes).op('i32.sub').set(count);
    };
    const out = pointers.length - 1;
    const value = f.local('v128');
    if (kinds[out] === 'vector') {
      f.while(
        () => void f.get(count).i32(4).op('i32.ge_u'),
        () => {
          new ExprEmitter(f, args, scalarsAt, (i) => {
            if (kinds[i] === 'vector') loadVector(f, dtypes[i]!, pointers[i]!);
            else if (kinds[i] === 'splat') loadSplat(f, dtypes[i]!, pointers[i]!);
            else loadStrided(f, dtypes[i]!, pointers[i]!, strides[i]!);
          }).emit(expr);
          f.set(value);
          storeVector(f, dtypes[out]!, pointers[out]!, value);
          step(4);
        },
      );
    }
    f.while(
      () => void f.get(count),
      () => {
        new ExprEmitter(f, args, scalarsAt, (i) => loadSplat(f, dtypes[i]!, pointers[i]!)).emit(expr);
        f.set(value);
        storeOne(f, dtypes[out]!, pointers[out]!, value);
        step(1);
      },
    );
  });
}

/** begin = tile · step; end = min(begin + step, whole). */
export function clampRange(
  f: FunctionBuilder,
  tile: Local,
  begin: Local,
  end: Local,
  step: () => void,
  whole: () => void,
): void {
  f.get(tile);
  step();
  f.op('i32.mul').tee(begin);
  step();
  f.op('i32.add').set(end);
  f.get(end);
  whole();
  f.get(end);
  whole();
  f.op('i32.lt_u').op('select').set(end);
}
