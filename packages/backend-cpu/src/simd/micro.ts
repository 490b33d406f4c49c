// The pieces every product is made of: packing into panels, and the register-blocked micro-kernel on panels.
// A panel of width P holds k rows of P neighbouring floats; missing lanes are zero. (Goto & van de Geijn, 2008.)

import type { DType } from '@darkroom/core';
import { loadSplat, loadStrided, loadVector, sizeOf } from './elements.ts';
import type { FunctionBuilder, Local, ModuleBuilder } from './emitter.ts';

export interface Tile {
  /** Rows of the register block. */
  readonly mr: number;
  /** Columns: a multiple of 4; mr · nr/4 accumulators stay in registers. */
  readonly nr: number;
  /** Depth of a packed block. */
  readonly kc: number;
  /** Rows of A packed at a time. */
  readonly mc: number;
}

function multiplyAdd(f: FunctionBuilder, relaxed: boolean, a: Local, b: Local, c: Local): void {
  if (relaxed) f.get(a).get(b).get(c).op('f32x4.relaxed_madd').set(c);
  else f.get(c).get(a).get(b).op('f32x4.mul').op('f32x4.add').set(c);
}

/**
 * Adds (ap, bp, depth, c, ldc bytes, accumulate): the mr × nr block at c is (accumulate ? c : 0) + A·B.
 * Returns the function's index.
 */
export function addMicroKernel(module: ModuleBuilder, { mr, nr }: Tile, relaxed: boolean): number {
  return module.add(['i32', 'i32', 'i32', 'i32', 'i32', 'i32'], (f) => {
    const [ap, bp, depth, c, ldc, accumulate] = f.params as [Local, Local, Local, Local, Local, Local];
    const vectors = nr / 4;
    const acc = Array.from({ length: mr }, () => Array.from({ length: vectors }, () => f.local('v128')));
    const b = Array.from({ length: vectors }, () => f.local('v128'));
    const [a, p] = [f.local('v128'), f.local('i32')];
    f.get(accumulate).if(() => {
      f.get(c).set(p);
      for (const row of acc) {
        row.forEach((v, j) =>
          f
            .get(p)
            .mem('v128.load', 16 * j)
            .set(v),
        );
        f.bump(p, ldc);
      }
    });
    // One k a turn: V8 moves the loads of a turn before its arithmetic, so unrolling would spill the accumulators.
    const end = f.local('i32');
    f.get(depth)
      .i32(4 * mr)
      .op('i32.mul')
      .get(ap)
      .op('i32.add')
      .set(end);
    f.while(
      () => void f.get(ap).get(end).op('i32.ne'),
      () => {
        b.forEach(
          (v, j) =>
            void f
              .get(bp)
              .mem('v128.load', 16 * j)
              .set(v),
        );
        acc.forEach((row, i) => {
          f.get(ap)
            .mem('v128.load32_splat', 4 * i)
            .set(a);
          row.forEach((v, j) => multiplyAdd(f, relaxed, a, b[j]!, v));
        });
        f.bump(ap, 4 * mr).bump(bp, 4 * nr);
      },
    );
    f.get(c).set(p);
    for (const row of acc) {
      row.forEach((v, j) =>
        f
          .get(p)
          .get(v)
          .mem('v128.store', 16 * j),
      );
      f.bump(p, ldc);
    }
  });
}

/**
 * Adds (source, lane stride, k stride, lanes, depth, panel): packs `lanes` <= width lanes; strides in bytes.
 * Any width >= 4: the last group of four overlaps the one before it. Returns the function's index.
 */
// eslint-disable-next-line max-lines-per-function -- one function's code: four loops, of which a layout takes one
export function addPack(module: ModuleBuilder, dtype: DType, width: number): number {
  const size = sizeOf[dtype];
  // eslint-disable-next-line max-lines-per-function -- as its caller
  return module.add(['i32', 'i32', 'i32', 'i32', 'i32', 'i32'], (f) => {
    const [src, laneStride, kStride, lanes, depth, dst] = f.params as [
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
    ];
    const [p, q, k, l] = f.locals('i32', 4);
    const v = Array.from({ length: 4 }, () => f.local('v128'));
    const full = (): void => void f.get(lanes).i32(width).op('i32.eq');
    /** First lane of each group of four. */
    const groups = Array.from({ length: Math.ceil(width / 4) }, (_, g) => Math.min(4 * g, width - 4));
    /** Lanes are neighbours: a copy of vectors. */
    const copyLanes = (): void => {
      f.i32(0).set(k);
      f.for(k, depth, 1, () => {
        for (const first of groups) {
          loadVector(f, dtype, src, size * first);
          f.set(v[0]!)
            .get(dst)
            .get(v[0]!)
            .mem('v128.store', 4 * first);
        }
        f.bump(src, kStride).bump(dst, 4 * width);
      });
    };
    /** k are neighbours: four lanes at a time, transposed in registers four k at a time. */
    const transpose = (): void => {
      for (const first of groups) {
        const rows = Array.from({ length: 4 }, () => f.local('i32'));
        rows.forEach((r, i) =>
          f
            .get(src)
            .get(laneStride)
            .i32(first + i)
            .op('i32.mul')
            .op('i32.add')
            .set(r),
        );
        f.get(dst)
          .i32(4 * first)
          .op('i32.add')
          .set(p)
          .i32(0)
          .set(k);
        f.while(
          () => void f.get(k).i32(4).op('i32.add').get(depth).op('i32.le_u'),
          () => {
            rows.forEach((r, i) => (loadVector(f, dtype, r), f.set(v[i]!)));
            const [t0, t1, t2, t3] = f.locals('v128', 4);
            f.get(v[0]!)
              .get(v[1]!)
              .shuffle32(0, 4, 1, 5)
              .set(t0)
              .get(v[0]!)
              .get(v[1]!)
              .shuffle32(2, 6, 3, 7)
              .set(t1);
            f.get(v[2]!)
              .get(v[3]!)
              .shuffle32(0, 4, 1, 5)
              .set(t2)
              .get(v[2]!)
              .get(v[3]!)
              .shuffle32(2, 6, 3, 7)
              .set(t3);
            f.get(p).get(t0).get(t2).shuffle32(0, 1, 4, 5).mem('v128.store', 0);
            f.get(p)
              .get(t0)
              .get(t2)
              .shuffle32(2, 3, 6, 7)
              .mem('v128.store', 4 * width);
            f.get(p)
              .get(t1)
              .get(t3)
              .shuffle32(0, 1, 4, 5)
              .mem('v128.store', 8 * width);
            f.get(p)
              .get(t1)
              .get(t3)
              .shuffle32(2, 3, 6, 7)
              .mem('v128.store', 12 * width);
            rows.forEach((r) => f.bump(r, 4 * size));
            f.bump(p, 16 * width).bump(k, 4);
          },
        );
        f.for(k, depth, 1, () => {
          rows.forEach((r, i) => {
            loadSplat(f, dtype, r);
            f.set(v[0]!)
              .get(p)
              .get(v[0]!)
              .laneMem('v128.store32_lane', 0, 4 * i);
            f.bump(r, size);
          });
          f.bump(p, 4 * width);
        });
      }
    };
    /** Any strides, any number of lanes. */
    const general = (): void => {
      f.i32(0).set(k);
      f.for(k, depth, 1, () => {
        f.get(src).set(p).get(dst).set(q).i32(0).set(l);
        f.for(l, lanes, 1, () => {
          loadSplat(f, dtype, p);
          f.set(v[0]!).get(q).get(v[0]!).laneMem('v128.store32_lane', 0);
          f.bump(p, laneStride).bump(q, 4);
        });
        f.for(l, width, 1, () => {
          f.get(q).i32(0).mem('i32.store');
          f.bump(q, 4);
        });
        f.bump(src, kStride).bump(dst, 4 * width);
      });
    };
    const gather = (): void => {
      f.i32(0).set(k);
      f.for(k, depth, 1, () => {
        for (const first of groups) {
          f.get(laneStride).i32(first).op('i32.mul').get(src).op('i32.add').set(p);
          loadStrided(f, dtype, p, laneStride);
          f.set(v[0]!)
            .get(dst)
            .get(v[0]!)
            .mem('v128.store', 4 * first);
        }
        f.bump(src, kStride).bump(dst, 4 * width);
      });
    };
    full();
    f.if(() => {
      f.get(laneStride).i32(size).op('i32.eq');
      f.if(copyLanes, () => {
        f.get(kStride).i32(size).op('i32.eq');
        f.if(transpose, gather);
      });
    }, general);
  });
}

/** out = min(step, whole - from) */
export function clampAdd(f: FunctionBuilder, from: Local, step: number, out: Local, whole: () => void): void {
  whole();
  f.get(from).op('i32.sub').set(out);
  f.get(out).i32(step).get(out).i32(step).op('i32.lt_u').op('select').set(out);
}
