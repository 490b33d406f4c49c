// Packs the elements that a convolution's columns read, by tables of offsets, into the panels of micro.ts.

import type { Local, ModuleBuilder } from './emitter.ts';

/**
 * Adds (source, k table, column table, lanes, depth, panel): packs float32 elements at source + k + column.
 * Neighbouring columns are copied as vectors.
 */
export function addGatherPack(module: ModuleBuilder, width: number): number {
  return module.add(['i32', 'i32', 'i32', 'i32', 'i32', 'i32'], (f) => {
    const [src, kTable, columns, lanes, depth, dst] = f.params as [Local, Local, Local, Local, Local, Local];
    const [p, k, l, v] = [f.local('i32'), f.local('i32'), f.local('i32'), f.local('v128')];
    const eachK = (body: () => void): void => {
      f.i32(0).set(k);
      f.for(k, depth, 1, () => {
        f.get(src).get(kTable).mem('i32.load').op('i32.add').set(p);
        body();
        f.bump(kTable, 4).bump(dst, 4 * width);
      });
    };
    f.get(lanes)
      .i32(width)
      .op('i32.eq')
      .if(
        () => {
          f.get(columns)
            .mem('i32.load', 4 * (width - 1))
            .get(columns)
            .mem('i32.load')
            .op('i32.sub')
            .i32(4 * (width - 1))
            .op('i32.eq');
          f.if(
            () => {
              f.get(src).get(columns).mem('i32.load').op('i32.add').set(src);
              eachK(() => {
                for (let j = 0; j < width / 4; j++)
                  f.get(dst)
                    .get(p)
                    .mem('v128.load', 16 * j)
                    .mem('v128.store', 16 * j);
              });
            },
            () => {
              const offsets = Array.from({ length: width }, () => f.local('i32'));
              offsets.forEach((o, i) =>
                f
                  .get(columns)
                  .mem('i32.load', 4 * i)
                  .set(o),
              );
              eachK(() => {
                for (let j = 0; j < width / 4; j++) {
                  f.get(p)
                    .get(offsets[4 * j]!)
                    .op('i32.add')
                    .mem('v128.load32_zero')
                    .set(v);
                  for (let i = 1; i < 4; i++)
                    f.get(p)
                      .get(offsets[4 * j + i]!)
                      .op('i32.add')
                      .get(v)
                      .laneMem('v128.load32_lane', i)
                      .set(v);
                  f.get(dst)
                    .get(v)
                    .mem('v128.store', 16 * j);
                }
              });
            },
          );
        },
        () =>
          eachK(() => {
            f.i32(0).set(l);
            f.for(l, lanes, 1, () => {
              f.get(dst).get(l).i32(2).op('i32.shl').op('i32.add');
              f.get(p)
                .get(columns)
                .get(l)
                .i32(2)
                .op('i32.shl')
                .op('i32.add')
                .mem('i32.load')
                .op('i32.add')
                .mem('f32.load');
              f.mem('f32.store');
            });
            f.for(
              l,
              width,
              1,
              () => void f.get(dst).get(l).i32(2).op('i32.shl').op('i32.add').i32(0).mem('i32.store'),
            );
          }),
      );
  });
}
