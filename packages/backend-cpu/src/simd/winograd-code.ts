// The code of winograd.ts: the transforms of weights, input tiles and sums.

import type { FunctionBuilder, Local } from './emitter.ts';

type F = FunctionBuilder;
const reader =
  (f: F) =>
  (w: number): void =>
    void f.get(f.params[0]!).mem('i32.load', 4 * w);

/** U = G g Gᵀ of output channel `tile`: args [g, u, o, c]. G = [1 0 0; ½ ½ ½; ½ -½ ½; 0 0 1]. */
export function emitWeights(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const i32 = (): Local => f.local('i32');
  const [g, u, plane, count, i] = f.locals('i32', 5);
  arg(3);
  f.set(count);
  arg(0);
  f.get(tile).get(count).op('i32.mul').i32(36).op('i32.mul').op('i32.add').set(g);
  arg(1);
  f.get(tile).get(count).op('i32.mul').i32(4).op('i32.mul').op('i32.add').set(u);
  arg(2);
  f.get(count).op('i32.mul').i32(4).op('i32.mul').set(plane);
  const rows = Array.from({ length: 12 }, () => f.local('f32'));
  const [sum, at] = [f.local('f32'), i32()];
  /** Four values from three by G; `load` pushes value k, `store` takes the result for position k. */
  const byG = (load: (k: number) => void, store: (k: number, push: () => void) => void): void => {
    store(0, () => load(0));
    for (const sign of [1, -1]) {
      store(sign === 1 ? 1 : 2, () => {
        load(0);
        load(2);
        f.op('f32.add').set(sum).get(sum);
        load(1);
        f.op(sign === 1 ? 'f32.add' : 'f32.sub')
          .f32(0.5)
          .op('f32.mul');
      });
    }
    store(3, () => load(2));
  };
  f.i32(0).set(i);
  f.for(i, count, 1, () => {
    for (let column = 0; column < 3; column++) {
      byG(
        (k) => void f.get(g).mem('f32.load', 4 * (3 * k + column)),
        (k, push) => (push(), void f.set(rows[3 * k + column]!)),
      );
    }
    f.get(u).set(at);
    for (let row = 0; row < 4; row++) {
      byG(
        (k) => void f.get(rows[3 * row + k]!),
        (_, push) => {
          f.get(at);
          push();
          f.mem('f32.store').bump(at, plane);
        },
      );
    }
    f.bump(g, 36).bump(u, 4);
  });
}

/** Reads what both image transforms are given: where channel `tile` lies before and after, and the sizes of its tiles. */
function readTile(
  f: F,
  arg: (i: number) => void,
  tile: Local,
  at: Readonly<Record<'from' | 'to' | 'rowBytes' | 'position' | 'rows' | 'columns', Local | undefined>>,
): void {
  const channel = (base: number, bytes: number, into: Local): void => {
    arg(base);
    f.get(tile);
    arg(bytes);
    f.op('i32.mul').op('i32.add').set(into);
  };
  channel(0, 3, at.from!);
  channel(1, 7, at.to!);
  for (const [i, name] of [[4, 'rowBytes'], [8, 'position'], [5, 'rows'], [6, 'columns']] as const) {
    arg(i);
    f.set(at[name]!);
  } // prettier-ignore
}

/** V = Bᵀ d B of input channel `tile`: args [x, v, c, plane, row, tile rows, tile columns, channel bytes, position bytes]. */
export function emitInput(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const [x, v, y, column, p, q, rowBytes, position] = f.locals('i32', 8);
  const [rows, columns] = f.locals('i32', 2);
  const d = Array.from({ length: 16 }, () => f.local('v128'));
  const [v0, v1, v2] = f.locals('v128', 3);
  readTile(f, arg, tile, { from: x, to: v, rowBytes, position, rows, columns });
  f.i32(0).set(y);
  f.for(y, rows, 1, () => {
    f.i32(0).set(column);
    f.for(column, columns, 4, () => {
      f.get(x)
        .get(y)
        .i32(2)
        .op('i32.mul')
        .get(rowBytes)
        .op('i32.mul')
        .op('i32.add')
        .get(column)
        .i32(8)
        .op('i32.mul')
        .op('i32.add')
        .set(p);
      // Four tiles side by side: column j of each as one vector.
      for (let i = 0; i < 4; i++) {
        f.get(p)
          .mem('v128.load', 0)
          .set(v0)
          .get(p)
          .mem('v128.load', 16)
          .set(v1)
          .get(p)
          .mem('v128.load64_zero', 32)
          .set(v2);
        f.get(v0)
          .get(v1)
          .shuffle32(0, 2, 4, 6)
          .set(d[4 * i]!);
        f.get(v0)
          .get(v1)
          .shuffle32(1, 3, 5, 7)
          .set(d[4 * i + 1]!);
        f.get(d[4 * i]!)
          .get(v2)
          .shuffle32(1, 2, 3, 4)
          .set(d[4 * i + 2]!);
        f.get(d[4 * i + 1]!)
          .get(v2)
          .shuffle32(1, 2, 3, 5)
          .set(d[4 * i + 3]!);
        f.bump(p, rowBytes);
      }
      for (let j = 0; j < 4; j++)
        byB(
          f,
          [0, 1, 2, 3].map((i) => d[4 * i + j]!),
          v0,
          v1,
        );
      for (let i = 0; i < 4; i++)
        byB(
          f,
          [0, 1, 2, 3].map((j) => d[4 * i + j]!),
          v0,
          v1,
        );
      f.get(v).set(q);
      for (const value of d) f.get(q).get(value).mem('v128.store').bump(q, position);
      f.bump(v, 16);
    });
  });
}

/** (a, b, c, d) → (a - c, b + c, c - b, b - d), in place. */
function byB(f: F, [a, b, c, d]: readonly Local[], s: Local, t: Local): void {
  f.get(b!).get(c!).op('f32x4.add').set(s).get(c!).get(b!).op('f32x4.sub').set(t);
  f.get(a!).get(c!).op('f32x4.sub').set(a!).get(b!).get(d!).op('f32x4.sub').set(d!);
  f.get(s).set(b!).get(t).set(c!);
}

/** Y = Aᵀ m A of output channel `tile`: args [y, m, o, plane, row, tile rows, tile columns, channel bytes, position bytes, height, width]. */
export function emitOutput(f: F): void {
  const tile = f.params[1]!;
  const arg = reader(f);
  const [y, m, row, column, q, to] = f.locals('i32', 6);
  const [rowBytes, position, rows, columns, width, left] = f.locals('i32', 6);
  const d = Array.from({ length: 16 }, () => f.local('v128'));
  const [lo, hi] = f.locals('v128', 2);
  readTile(f, arg, tile, { from: y, to: m, rowBytes, position, rows, columns });
  arg(10);
  f.set(width);
  /** (a, b, c, d) → first (a + b + c) into a, second (b - c - d) into b. */
  const byA = ([a, b, c, e]: readonly Local[]): void => {
    f.get(b!).get(c!).op('f32x4.sub').get(e!).op('f32x4.sub').set(lo);
    f.get(a!).get(b!).op('f32x4.add').get(c!).op('f32x4.add').set(a!).get(lo).set(b!);
  };
  f.i32(0).set(row);
  f.for(row, rows, 1, () => {
    f.i32(0).set(column);
    f.for(column, columns, 4, () => {
      f.get(m).set(q);
      for (const value of d) f.get(q).mem('v128.load').set(value).bump(q, position);
      f.bump(m, 16);
      for (let j = 0; j < 4; j++) byA([0, 1, 2, 3].map((i) => d[4 * i + j]!));
      for (let i = 0; i < 2; i++) {
        byA([0, 1, 2, 3].map((j) => d[4 * i + j]!));
        // Row 2·row + i, if the image has it; columns 2·column … +7, as far as it reaches.
        f.get(row).i32(2).op('i32.mul').i32(i).op('i32.add');
        arg(9);
        f.op('i32.lt_s').if(() => {
          f.get(d[4 * i]!)
            .get(d[4 * i + 1]!)
            .shuffle32(0, 4, 1, 5)
            .set(lo)
            .get(d[4 * i]!)
            .get(d[4 * i + 1]!)
            .shuffle32(2, 6, 3, 7)
            .set(hi);
          f.get(y)
            .get(row)
            .i32(2)
            .op('i32.mul')
            .i32(i)
            .op('i32.add')
            .get(rowBytes)
            .op('i32.mul')
            .op('i32.add');
          f.get(column).i32(8).op('i32.mul').op('i32.add').set(to);
          f.get(width).get(column).i32(2).op('i32.mul').op('i32.sub').set(left);
          f.get(left)
            .i32(8)
            .op('i32.ge_s')
            .if(
              () => void f.get(to).get(lo).mem('v128.store').get(to).get(hi).mem('v128.store', 16),
              () => {
                for (let k = 0; k < 8; k++) {
                  f.get(left)
                    .i32(k)
                    .op('i32.gt_s')
                    .if(
                      () =>
                        void f
                          .get(to)
                          .get(k < 4 ? lo : hi)
                          .laneMem('v128.store32_lane', k % 4, 4 * k),
                    );
                }
              },
            );
        });
      }
    });
  });
}
