// The code of one tile of a product: packs its rows of A and columns of B, depth by depth, unless that was done before
// (packing.ts), and runs the micro-kernel on the panels.

import type { DType } from '@darkroom/core';
import type { Local, ModuleBuilder } from './emitter.ts';
import { addGatherPack } from './gather-pack.ts';
import { clampRange } from './map.ts';
import { addMicroKernel, addPack, clampAdd } from './micro.ts';
import type { Tile } from './micro.ts';
import { addPanel } from './packing.ts';

/** Argument words, as product.ts fills them; strides in bytes. */
const word = {
  a: 0, b: 1, c: 2, m: 3, n: 4, k: 5, aRow: 6, aK: 7, bK: 8, bColumn: 9, cRow: 10, cColumn: 11, nTile: 12, nTiles: 13, mTile: 14,
  mTiles: 15, batches: 16, kTable: 17, columnTable: 18, outputTable: 19, paddedLanes: 20,
} as const; // prettier-ignore

/** An operand of A·B. */
export type Side = 'a' | 'b';

/** Parameters that the code of a product is specialised on, beside the register block. */
export interface ProductCode {
  readonly a: DType;
  readonly b: DType;
  readonly gather: boolean;
  readonly relaxed: boolean;
  /** The operand that was packed whole before, as float32. */
  readonly packed: Side | undefined;
}

// eslint-disable-next-line max-lines-per-function -- one kernel's code: named steps over its locals, called at the end
export function emitProduct(module: ModuleBuilder, tile: Tile, code: ProductCode): void {
  const { mr, nr, kc, mc } = tile;
  const { gather, packed } = code;
  const micro = addMicroKernel(module, tile, code.relaxed);
  const packA = packed === 'a' ? undefined : addPack(module, code.a, mr);
  const packB = packed === 'b' ? undefined : gather ? addGatherPack(module, nr) : addPack(module, code.b, nr);
  module.add(
    ['i32', 'i32', 'i32'],
    // eslint-disable-next-line max-lines-per-function -- as its caller
    (f) => {
      const [args, index, scratch] = f.params as [Local, Local, Local];
      const arg = (w: keyof typeof word): void => void f.get(args).mem('i32.load', word[w] * 4);
      const i32 = (): Local => f.local('i32');
      const [rest, batch, a, b, c] = f.locals('i32', 5);
      const [n0, n1, m0, m1, pc, depth, jc, ic, icEnd, ir] = f.locals('i32', 10);
      const [bPanels, aPanels, block, panel, lanes, rows, cAt, t] = f.locals('i32', 8);

      // index = (batch · mTiles + row tile) · nTiles + column tile
      f.get(index);
      arg('nTiles');
      f.op('i32.div_u').set(rest);
      f.get(index);
      arg('nTiles');
      f.op('i32.rem_u').set(t);
      clampRange(
        f,
        t,
        n0,
        n1,
        () => arg('nTile'),
        () => arg('n'),
      );
      f.get(rest);
      arg('mTiles');
      f.op('i32.rem_u').set(t);
      clampRange(
        f,
        t,
        m0,
        m1,
        () => arg('mTile'),
        () => arg('m'),
      );
      arg('batches');
      f.get(rest);
      arg('mTiles');
      f.op('i32.div_u').i32(12).op('i32.mul').op('i32.add').set(batch);
      arg('a');
      f.get(batch).mem('i32.load', 0).op('i32.add').set(a);
      arg('b');
      f.get(batch).mem('i32.load', 4).op('i32.add').set(b);
      arg('c');
      f.get(batch).mem('i32.load', 8).op('i32.add').set(c);
      f.get(scratch).set(block);
      f.get(scratch)
        .i32(4 * mr * nr + 64)
        .op('i32.add')
        .set(aPanels);
      f.get(aPanels)
        .i32(4 * kc * (mc + mr))
        .op('i32.add')
        .set(bPanels);

      f.i32(0).set(pc);
      const depthBlock = (): void => {
        clampAdd(f, pc, kc, depth, () => arg('k'));
        if (packB === undefined) {
          addPanel(f, b, pc, depth, n0, () => arg('paddedLanes'));
          f.set(bPanels);
        } else packColumns(packB);
        f.get(m0).set(ic);
        f.for(ic, m1, mc, () => {
          clampAdd(f, ic, mc, icEnd, () => f.get(m1));
          f.bump(icEnd, ic);
          if (packA === undefined) {
            addPanel(f, a, pc, depth, ic, () => arg('paddedLanes'));
            f.set(aPanels);
          } else packRows(packA);
          blocks();
        });
      };
      /** Columns n0 … n1 of B at this depth. */
      const packColumns = (pack: number): void => {
        f.get(n0).set(jc).get(bPanels).set(panel);
        f.for(jc, n1, nr, () => {
          clampAdd(f, jc, nr, lanes, () => f.get(n1));
          if (gather) {
            f.get(b);
            arg('kTable');
            f.get(pc).i32(2).op('i32.shl').op('i32.add');
            arg('columnTable');
            f.get(jc).i32(2).op('i32.shl').op('i32.add');
          } else {
            f.get(b).get(pc);
            arg('bK');
            f.op('i32.mul').op('i32.add').get(jc);
            arg('bColumn');
            f.op('i32.mul').op('i32.add');
            arg('bColumn');
            arg('bK');
          }
          f.get(lanes).get(depth).get(panel).call(pack);
          f.get(depth)
            .i32(4 * nr)
            .op('i32.mul')
            .get(panel)
            .op('i32.add')
            .set(panel);
        });
      };
      /** Rows ic … icEnd of A at this depth. */
      const packRows = (pack: number): void => {
        f.get(ic).set(ir).get(aPanels).set(panel);
        f.for(ir, icEnd, mr, () => {
          clampAdd(f, ir, mr, rows, () => f.get(icEnd));
          f.get(a).get(ir);
          arg('aRow');
          f.op('i32.mul').op('i32.add').get(pc);
          arg('aK');
          f.op('i32.mul').op('i32.add');
          arg('aRow');
          arg('aK');
          f.get(rows).get(depth).get(panel).call(pack);
          f.get(depth)
            .i32(4 * mr)
            .op('i32.mul')
            .get(panel)
            .op('i32.add')
            .set(panel);
        });
      };
      /** All register blocks of rows ic … icEnd and columns n0 … n1. */
      const blocks = (): void => {
        const [ap, bp] = f.locals('i32', 2);
        f.get(n0).set(jc).get(bPanels).set(bp);
        f.for(jc, n1, nr, () => {
          clampAdd(f, jc, nr, lanes, () => f.get(n1));
          f.get(ic).set(ir).get(aPanels).set(ap);
          f.for(ir, icEnd, mr, () => {
            clampAdd(f, ir, mr, rows, () => f.get(icEnd));
            f.get(c).get(ir);
            arg('cRow');
            f.op('i32.mul').op('i32.add').set(cAt);
            if (!gather) {
              f.get(cAt).get(jc);
              arg('cColumn');
              f.op('i32.mul').op('i32.add').set(cAt);
            }
            // Whole blocks whose columns are neighbours in C are written in place; others go through scratch.
            f.get(rows).i32(mr).op('i32.eq').get(lanes).i32(nr).op('i32.eq').op('i32.and');
            if (gather) {
              const o = i32();
              arg('outputTable');
              f.get(jc).i32(2).op('i32.shl').op('i32.add').set(o);
              f.get(o)
                .mem('i32.load', 4 * (nr - 1))
                .get(o)
                .mem('i32.load')
                .op('i32.sub')
                .i32(4 * (nr - 1))
                .op('i32.eq')
                .op('i32.and');
              f.get(lanes).i32(nr).op('i32.eq').op('i32.and');
            } else {
              arg('cColumn');
              f.i32(4).op('i32.eq').op('i32.and');
            }
            f.if(
              () => {
                f.get(ap).get(bp).get(depth).get(cAt);
                if (gather) {
                  arg('outputTable');
                  f.get(jc).i32(2).op('i32.shl').op('i32.add').mem('i32.load').op('i32.add');
                }
                arg('cRow');
                f.get(pc).call(micro);
              },
              () => {
                // The same sums in the same order as in place, so that results do not depend on how C was split.
                f.get(pc).if(() => transfer('load'));
                f.get(ap)
                  .get(bp)
                  .get(depth)
                  .get(block)
                  .i32(4 * nr)
                  .get(pc)
                  .call(micro);
                transfer('store');
              },
            );
            f.get(depth)
              .i32(4 * mr)
              .op('i32.mul')
              .get(ap)
              .op('i32.add')
              .set(ap);
          });
          f.get(depth)
            .i32(4 * nr)
            .op('i32.mul')
            .get(bp)
            .op('i32.add')
            .set(bp);
        });
      };
      /** Copies the valid part of the register block between C and scratch. */
      const transfer = (direction: 'load' | 'store'): void => {
        const [i, j, inBlock, row, inC] = f.locals('i32', 5);
        f.i32(0).set(i);
        f.for(i, rows, 1, () => {
          f.get(block)
            .get(i)
            .i32(4 * nr)
            .op('i32.mul')
            .op('i32.add')
            .set(inBlock);
          f.get(cAt).get(i);
          arg('cRow');
          f.op('i32.mul').op('i32.add').set(row).i32(0).set(j);
          f.for(j, lanes, 1, () => {
            f.get(row);
            if (gather) {
              arg('outputTable');
              f.get(jc).get(j).op('i32.add').i32(2).op('i32.shl').op('i32.add').mem('i32.load');
            } else {
              f.get(j);
              arg('cColumn');
              f.op('i32.mul');
            }
            f.op('i32.add').set(inC);
            const [from, to] = direction === 'load' ? [inC, inBlock] : [inBlock, inC];
            f.get(to).get(from).mem('f32.load').mem('f32.store');
            f.bump(inBlock, 4);
          });
        });
      };
      // At least one turn, so that k = 0 writes zeros.
      depthBlock();
      f.bump(pc, kc);
      f.while(
        () => {
          f.get(pc);
          arg('k');
          f.op('i32.lt_u');
        },
        () => {
          depthBlock();
          f.bump(pc, kc);
        },
      );
    },
    'tile',
  );
}
