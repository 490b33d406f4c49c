// Shared by the row kernels: loops over rows and their elements, sums across lanes, mean and deviation. A row is
// contiguous float32; the caller copies other layouts before. A variance reads its row twice.

import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { clampRange } from './map.ts';

export type F = FunctionBuilder;

export interface PreparedRows {
  /** Byte addresses: x, (weight, bias,) output. Absent weight and bias are 0. */
  run(pointers: readonly number[]): void;
}

/** The sum (or maximum) of the four lanes of `v`, in all lanes, into `v`. */
export function acrossLanes(f: F, v: Local, op: 'f32x4.add' | 'f32x4.max'): void {
  f.get(v).get(v).get(v).shuffle32(2, 3, 0, 1).op(op).set(v);
  f.get(v).get(v).get(v).shuffle32(1, 0, 3, 2).op(op).set(v);
}

/**
 * For each vector of a row at `from` (bytes end at `end`): loads it into `v` and runs `body`; the tail comes one
 * element at a time with the other lanes holding `neutral`, to `tail` if that is given.
 */
export function eachVector(
  f: F,
  from: Local,
  end: Local,
  v: Local,
  neutral: number,
  body: (store: (to: Local) => void) => void,
  step: (bytes: number) => void,
  tail: typeof body = body,
): void {
  f.while(
    () => void f.get(from).i32(16).op('i32.add').get(end).op('i32.le_u'),
    () => {
      f.get(from).mem('v128.load').set(v);
      body((to) => void f.get(to).get(v).mem('v128.store'));
      step(16);
    },
  );
  f.while(
    () => void f.get(from).get(end).op('i32.lt_u'),
    () => {
      f.get(from).f32x4(neutral).laneMem('v128.load32_lane', 0).set(v);
      tail((to) => void f.get(to).get(v).laneMem('v128.store32_lane', 0));
      step(4);
    },
  );
}

/** Rows of a tile: args are [x, weight, bias, y, rows, length, rowsPerTile, …]. */
export function forRows(
  f: F,
  body: (x: Local, y: Local, bytes: Local, arg: (w: number) => void, row: Local) => void,
): void {
  const [args, tile] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', 4 * w);
  const [row, rowEnd, x, y, bytes] = f.locals('i32', 5);
  clampRange(
    f,
    tile,
    row,
    rowEnd,
    () => arg(6),
    () => arg(4),
  );
  arg(5);
  f.i32(4).op('i32.mul').set(bytes);
  f.for(row, rowEnd, 1, () => {
    arg(0);
    f.get(row).get(bytes).op('i32.mul').op('i32.add').set(x);
    arg(3);
    f.get(row).get(bytes).op('i32.mul').op('i32.add').set(y);
    body(x, y, bytes, arg, row);
  });
}

export function prepareRows(
  engine: Engine,
  key: string,
  rows: number,
  length: number,
  extra: readonly number[],
  emit: (f: F) => void,
): PreparedRows {
  if (rows === 0 || length === 0) return { run() {} };
  const code = engine.code(key, (module) => void module.add(['i32', 'i32', 'i32'], emit, 'tile'));
  const perTile = Math.max(1, Math.min(Math.floor(8192 / length), Math.ceil(rows / (4 * engine.threads))));
  const args = new Float64Array([0, 0, 0, 0, rows, length, perTile, ...extra]);
  const work = rows * length * 16;
  return {
    run(pointers) {
      args[0] = pointers[0]!;
      args[1] = pointers.length > 2 ? pointers[1]! : 0;
      args[2] = pointers.length > 3 ? pointers[2]! : 0;
      args[3] = pointers.at(-1)!;
      engine.run(code, args, Math.ceil(rows / perTile), work);
    },
  };
}

/** Bytes summed in one accumulator before it joins the total: long rows then lose no more digits than short ones. */
const blockBytes = 1 << 14;

/** Runs `body` for the blocks of p…end (it moves p to `stop`), then adds `partial`, cleared before, to `total`. */
function inBlocks(
  f: F,
  p: Local,
  end: Local,
  total: Local,
  body: (stop: Local, partial: Local) => void,
): void {
  const [stop, partial] = [f.local('i32'), f.local('v128')];
  f.f32x4(0).set(total);
  f.while(
    () => void f.get(p).get(end).op('i32.lt_u'),
    () => {
      f.get(p).i32(blockBytes).op('i32.add').get(end);
      f.get(end).get(p).op('i32.sub').i32(blockBytes).op('i32.gt_u').op('select').set(stop);
      f.f32x4(0).set(partial);
      body(stop, partial);
      f.get(total).get(partial).op('f32x4.add').set(total);
    },
  );
}

/** mean and 1/√(var + eps) of the `bytes` at x; uncentred: mean stays 0. */
export function statistics(
  f: F,
  x: Local,
  bytes: Local,
  arg: (w: number) => void,
  centred: boolean,
  mean: Local,
  scale: Local,
): void {
  const [p, end, v, total, count] = [
    f.local('i32'),
    f.local('i32'),
    f.local('v128'),
    f.local('v128'),
    f.local('v128'),
  ];
  f.get(bytes).i32(2).op('i32.shr_u').op('f32.convert_i32_u').op('f32x4.splat').set(count);
  f.get(x).get(bytes).op('i32.add').set(end);
  f.f32x4(0).set(mean);
  if (centred) {
    f.get(x).set(p);
    inBlocks(f, p, end, total, (stop, partial) =>
      eachVector(
        f,
        p,
        stop,
        v,
        0,
        () => void f.get(partial).get(v).op('f32x4.add').set(partial),
        (n) => void f.bump(p, n),
      ),
    );
    acrossLanes(f, total, 'f32x4.add');
    f.get(total).get(count).op('f32x4.div').set(mean);
  }
  f.get(x).set(p);
  inBlocks(f, p, end, total, (stop, partial) => {
    // The tail's idle lanes hold the mean, so that they add nothing: loaded through a copy of it.
    f.while(
      () => void f.get(p).i32(16).op('i32.add').get(stop).op('i32.le_u'),
      () => {
        f.get(p)
          .mem('v128.load')
          .get(mean)
          .op('f32x4.sub')
          .tee(v)
          .get(v)
          .op('f32x4.mul')
          .get(partial)
          .op('f32x4.add')
          .set(partial);
        f.bump(p, 16);
      },
    );
    f.while(
      () => void f.get(p).get(stop).op('i32.lt_u'),
      () => {
        f.get(p)
          .get(mean)
          .laneMem('v128.load32_lane', 0)
          .get(mean)
          .op('f32x4.sub')
          .tee(v)
          .get(v)
          .op('f32x4.mul');
        f.get(partial).op('f32x4.add').set(partial);
        f.bump(p, 4);
      },
    );
  });
  acrossLanes(f, total, 'f32x4.add');
  f.f32x4(1).get(total).get(count).op('f32x4.div');
  arg(7);
  f.op('f32.reinterpret_i32').op('f32x4.splat').op('f32x4.add').op('f32x4.sqrt').op('f32x4.div').set(scale);
}

/** The bits of a float32, as an argument word. */
export const bitsOf = (x: number): number => new Int32Array(new Float32Array([x]).buffer)[0]!;
