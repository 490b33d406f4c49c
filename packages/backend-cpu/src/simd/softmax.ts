// Softmax of dense float32 data. Along the last axis by rows; along any other by columns, which are vectors, so that
// nothing crosses lanes. A row or column of -infinities gives NaN, as in torch.

import type { Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { columnArgs, columnWord, forStrips } from './column-loop.ts';
import { acrossLanes, eachVector, forRows, prepareRows } from './row-loop.ts';
import type { PreparedRows } from './row-loop.ts';
import { exp } from './vector-math.ts';

/** x [rows, length] → probabilities; a row of -infinities gives NaN, as in torch. */
export function prepareSoftmax(engine: Engine, rows: number, length: number): PreparedRows {
  return prepareRows(engine, 'softmax', rows, length, [], (f) =>
    forRows(f, (x, y, bytes) => {
      const [p, q, end, v, e, total] = [
        f.local('i32'),
        f.local('i32'),
        f.local('i32'),
        f.local('v128'),
        f.local('v128'),
        f.local('v128'),
      ];
      const highest = f.local('v128');
      const start = (): void => void f.get(x).set(p).get(x).get(bytes).op('i32.add').set(end).get(y).set(q);
      start();
      f.f32x4(-Infinity).set(highest);
      eachVector(
        f,
        p,
        end,
        v,
        -Infinity,
        () => void f.get(highest).get(v).op('f32x4.max').set(highest),
        (n) => void f.bump(p, n),
      );
      acrossLanes(f, highest, 'f32x4.max');
      start();
      f.f32x4(0).set(total);
      eachVector(
        f,
        p,
        end,
        v,
        -Infinity,
        (store) => {
          f.get(v).get(highest).op('f32x4.sub').set(e);
          exp(f, e);
          f.tee(v).get(total).op('f32x4.add').set(total);
          store(q);
        },
        (n) => void f.bump(p, n).bump(q, n),
      );
      acrossLanes(f, total, 'f32x4.add');
      f.get(y).set(p).get(y).get(bytes).op('i32.add').set(end);
      eachVector(
        f,
        p,
        end,
        v,
        0,
        (store) => {
          f.get(v).get(total).op('f32x4.div').set(v);
          store(p);
        },
        (n) => void f.bump(p, n),
      );
    }),
  );
}

export interface PreparedSoftmax {
  /** Byte addresses; y may be x. */
  run(x: number, y: number): void;
}

/** x and y are [outer, length, inner], dense; softmax runs along `length`. */
export function prepareSoftmaxAcross(
  engine: Engine,
  outer: number,
  length: number,
  inner: number,
): PreparedSoftmax {
  if (outer * length * inner === 0) return { run() {} };
  const code = engine.code('softmax/across', (module) => {
    module.add(
      ['i32', 'i32', 'i32'],
      (f) => {
        const [p, q, toY] = f.locals('i32', 3);
        const v = f.local('v128');
        const [args] = f.params as [Local, Local, Local];
        f.get(args)
          .mem('i32.load', 4 * columnWord.y)
          .get(args)
          .mem('i32.load', 4 * columnWord.x)
          .op('i32.sub')
          .set(toY);
        forStrips(f, ({ vectors, x, end, stride, load, store }) => {
          const highest = Array.from({ length: vectors }, () => f.local('v128'));
          const total = Array.from({ length: vectors }, () => f.local('v128'));
          const rows = (body: () => void): void => {
            f.get(x).set(p);
            f.while(
              () => void f.get(p).get(end).op('i32.ne'),
              () => {
                f.get(p).get(toY).op('i32.add').set(q);
                body();
                f.bump(p, stride);
              },
            );
          };
          highest.forEach((h) => void f.f32x4(-Infinity).set(h));
          total.forEach((t) => void f.f32x4(0).set(t));
          rows(() =>
            highest.forEach((h, i) => {
              load(p, i);
              f.get(h).op('f32x4.max').set(h);
            }),
          );
          rows(() =>
            highest.forEach((h, i) => {
              load(p, i);
              f.get(h).op('f32x4.sub').set(v);
              exp(f, v);
              f.tee(v).get(total[i]!).op('f32x4.add').set(total[i]!);
              store(q, v, i);
            }),
          );
          rows(() =>
            total.forEach((t, i) => {
              load(q, i);
              f.get(t).op('f32x4.div').set(v);
              store(q, v, i);
            }),
          );
        });
      },
      'tile',
    );
  });
  const args = columnArgs({ length, inner, rowStride: inner, outerStride: length * inner });
  const tiles = outer * args[columnWord.columnTiles]!;
  return {
    run(x, y) {
      args[columnWord.x] = x;
      args[columnWord.y] = y;
      engine.run(code, args, tiles, outer * length * inner * 16);
    },
  };
}
