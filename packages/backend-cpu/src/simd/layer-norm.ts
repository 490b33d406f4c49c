// Layer and rms norm over the last axis of dense float32 rows.

import type { Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { bitsOf, eachVector, forRows, prepareRows, statistics } from './row-loop.ts';
import type { PreparedRows } from './row-loop.ts';

/** Last-axis norm of x [rows, length] with optional weight and bias [length]. */
export function prepareLastAxisNorm(
  engine: Engine,
  rows: number,
  length: number,
  options: { eps: number; centred: boolean; weight: boolean; bias: boolean },
): PreparedRows {
  const { centred, weight, bias } = options;
  return prepareRows(engine, `norm ${centred} ${weight} ${bias}`, rows, length, [bitsOf(options.eps)], (f) =>
    forRows(f, (x, y, bytes, arg) => {
      const [mean, scale, v, p, q, end] = [
        f.local('v128'),
        f.local('v128'),
        f.local('v128'),
        f.local('i32'),
        f.local('i32'),
        f.local('i32'),
      ];
      const [w, b] = f.locals('i32', 2);
      statistics(f, x, bytes, arg, centred, mean, scale);
      f.get(x).set(p).get(x).get(bytes).op('i32.add').set(end).get(y).set(q);
      arg(1);
      f.set(w);
      arg(2);
      f.set(b);
      const body =
        (vector: boolean) =>
        (store: (to: Local) => void): void => {
          const load = (from: Local): void =>
            void f.get(from).mem(vector ? 'v128.load' : 'v128.load32_splat');
          f.get(v).get(mean).op('f32x4.sub').get(scale).op('f32x4.mul');
          if (weight) {
            load(w);
            f.op('f32x4.mul');
          }
          if (bias) {
            load(b);
            f.op('f32x4.add');
          }
          f.set(v);
          store(q);
        };
      const step = (n: number): void => {
        f.bump(p, n).bump(q, n);
        if (weight) f.bump(w, n);
        if (bias) f.bump(b, n);
      };
      eachVector(f, p, end, v, 0, body(true), step, body(false));
    }),
  );
}
