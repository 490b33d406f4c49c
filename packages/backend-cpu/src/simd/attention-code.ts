// The code of attention.ts: one tile is a block of queries of one head, against all keys, a block of them at a time.

import type { DType } from '@darkroom/core';
import { sizeOf, storeOne, storeVector } from './elements.ts';
import type { FunctionBuilder, Local } from './emitter.ts';
import { exp2, exp2Constants } from './exp2.ts';
import type { Tile } from './micro.ts';

export type Kind = 'none' | 'causal' | 'additive';

export const tile: Tile = { mr: 6, nr: 8, kc: 0, mc: 0 };
/** Bytes of a row of scores: eight queries. */
export const panel: number = 4 * tile.nr;
/** A multiple of mr. */
export const keyBlock = 96;
const word = {
  q: 0, k: 1, v: 2, mask: 3, out: 4, queries: 5, keys: 6, size: 7, qRow: 8, kRow: 9, vRow: 10, outRow: 11, maskRow: 12,
  maskColumn: 13, scale: 14, batches: 15, blocks: 16, padded: 17, block: 18, qStep: 19, kStep: 20, vStep: 21,
} as const; // prettier-ignore

/** Function indices. */
export interface Parts {
  readonly micro: number;
  readonly packQ: number;
  readonly packK: number;
  readonly packV: number;
}

export function emitAttention(
  f: FunctionBuilder,
  kind: Kind,
  parts: Parts,
  outType: DType,
  relaxed: boolean,
): void {
  const [args, index, scratch] = f.params as [Local, Local, Local];
  const arg = (w: keyof typeof word): void => void f.get(args).mem('i32.load', word[w] * 4);
  const i32 = (): Local => f.local('i32');
  const [q, k, v, mask, out, batch] = f.locals('i32', 6);
  const [first, rows, key, end, columns, size, padded] = f.locals('i32', 7);
  const [scores, highest, total, lines, qPack, acc, kPack, vPack] = f.locals('i32', 8);
  const [p, i, at, sums, statistic] = f.locals('i32', 5);
  /** to = base + factors multiplied */
  const place = (to: Local, base: Local, ...factors: readonly (Local | number)[]): void => {
    const push = (x: Local | number): void => void (typeof x === 'number' ? f.i32(x) : f.get(x));
    factors.forEach((x, n) => (push(x), n > 0 && f.op('i32.mul')));
    f.get(base).op('i32.add').set(to);
  };
  /** Pushes min(step, whole - from). */
  const least = (whole: Local, from: Local, step: Local | number): void => {
    const push = (): void => void (typeof step === 'number' ? f.i32(step) : f.get(step));
    f.get(whole).get(from).op('i32.sub').set(at);
    f.get(at);
    push();
    f.get(at);
    push();
    f.op('i32.lt_u').op('select');
  };
  const blockSize = i32();

  // Which head, which block of queries; where the parts of scratch begin.
  arg('batches');
  f.get(index);
  arg('blocks');
  f.op('i32.div_u').i32(20).op('i32.mul').op('i32.add').set(batch);
  const names = ['q', 'k', 'v', 'mask', 'out'] as const;
  [q, k, v, mask, out].forEach((local, n) => {
    arg(names[n]!);
    f.get(batch)
      .mem('i32.load', 4 * n)
      .op('i32.add')
      .set(local);
  });
  arg('block');
  f.set(blockSize).get(index);
  arg('blocks');
  f.op('i32.rem_u').get(blockSize).op('i32.mul').set(first);
  arg('queries');
  f.set(end);
  least(end, first, blockSize);
  f.set(rows);
  arg('size');
  f.set(size);
  arg('padded');
  f.set(padded).get(scratch).set(scores);
  place(highest, scores, keyBlock * panel);
  place(total, highest, blockSize, 4);
  place(lines, total, blockSize, 4);
  f.get(size)
    .i32(3)
    .op('i32.add')
    .i32(-4)
    .op('i32.and')
    .i32(panel)
    .op('i32.mul')
    .get(lines)
    .op('i32.add')
    .set(qPack);
  place(acc, qPack, blockSize, size, 4);
  place(kPack, acc, blockSize, padded, 4);
  place(vPack, kPack, size, 4 * keyBlock);

  // Queries: packed, then scaled. Sums, maxima and totals: cleared.
  const source = i32();
  f.i32(0).set(p);
  f.for(p, rows, tile.nr, () => {
    f.get(q).get(first).get(p).op('i32.add');
    arg('qRow');
    f.op('i32.mul').op('i32.add');
    arg('qRow');
    arg('qStep');
    least(rows, p, tile.nr);
    f.get(size);
    place(source, qPack, p, size, 4);
    f.get(source).call(parts.packQ);
  });
  const scale = f.local('v128');
  arg('scale');
  f.op('f32.reinterpret_i32').op('f32x4.splat').set(scale);
  place(source, qPack, p, size, 4); // p: rows, rounded up
  f.get(qPack).set(i);
  f.for(
    i,
    source,
    16,
    () => void f.get(i).get(i).mem('v128.load').get(scale).op('f32x4.mul').mem('v128.store'),
  );
  f.get(acc).i32(0).get(p).get(padded).op('i32.mul').i32(4).op('i32.mul').fill();
  f.get(total).i32(0).get(p).i32(4).op('i32.mul').fill();
  f.get(highest).set(i);
  f.for(i, total, 16, () => void f.get(i).f32x4(-Infinity).mem('v128.store'));

  arg('keys');
  f.set(end);
  if (kind === 'causal') {
    // Keys after the last query of this block are seen by none of it.
    f.get(first)
      .get(rows)
      .op('i32.add')
      .tee(at)
      .get(end)
      .get(at)
      .get(end)
      .op('i32.lt_u')
      .op('select')
      .set(end);
  }
  f.i32(0).set(key);
  f.for(key, end, keyBlock, () => {
    least(end, key, keyBlock);
    f.set(columns).i32(0).set(i);
    f.for(i, columns, tile.mr, () => {
      f.get(k).get(key).get(i).op('i32.add');
      arg('kRow');
      f.op('i32.mul').op('i32.add');
      arg('kRow');
      arg('kStep');
      least(columns, i, tile.mr);
      place(source, kPack, i, size, 4);
      f.get(size).get(source).call(parts.packK);
    });
    f.i32(0).set(i);
    f.for(i, size, tile.mr, () => {
      f.get(v).get(key);
      arg('vRow');
      f.op('i32.mul').op('i32.add').get(i);
      arg('vStep');
      f.op('i32.mul').op('i32.add');
      arg('vStep');
      arg('vRow');
      least(size, i, tile.mr);
      place(source, vPack, i, columns, 4);
      f.get(columns).get(source).call(parts.packV);
    });
    f.i32(0).set(p);
    f.for(p, rows, tile.nr, () => {
      if (kind === 'causal') {
        f.get(key).get(first).get(p).op('i32.add').i32(tile.nr).op('i32.add').op('i32.lt_u').if(onePanel);
      } else onePanel();
    });
  });

  f.i32(0).set(p);
  f.for(p, rows, tile.nr, writePanel);

  /** Eight queries against this block of keys. */
  function onePanel(): void {
    const [a, b] = f.locals('i32', 2);
    place(b, qPack, p, size, 4);
    f.i32(0).set(i).get(kPack).set(a);
    f.for(i, columns, tile.mr, () => {
      f.get(a).get(b).get(size);
      place(source, scores, i, panel);
      f.get(source).i32(panel).i32(0).call(parts.micro);
      f.get(size)
        .i32(4 * tile.mr)
        .op('i32.mul')
        .get(a)
        .op('i32.add')
        .set(a);
    });
    place(statistic, highest, p, 4);
    place(sums, acc, p, padded, 4);
    if (kind === 'causal') {
      // Only where the last key lies after the first query.
      f.get(key)
        .get(columns)
        .op('i32.add')
        .get(first)
        .get(p)
        .op('i32.add')
        .i32(1)
        .op('i32.add')
        .op('i32.gt_u')
        .if(hideLaterKeys);
    }
    if (kind === 'additive') addMask();
    softmaxPanel();
    f.i32(0).set(i).get(vPack).set(a);
    f.for(i, size, tile.mr, () => {
      f.get(a).get(scores).get(columns);
      place(source, sums, i, panel);
      f.get(source).i32(panel).i32(1).call(parts.micro);
      f.get(columns)
        .i32(4 * tile.mr)
        .op('i32.mul')
        .get(a)
        .op('i32.add')
        .set(a);
    });
  }

  function eachKey(body: (offset: number) => void, unroll = 1): void {
    const stop = i32();
    f.get(scores).set(at);
    place(stop, scores, columns, panel);
    for (const turns of unroll > 1 ? [unroll, 1] : [1]) {
      f.while(
        () =>
          void f
            .get(at)
            .i32(turns * panel)
            .op('i32.add')
            .get(stop)
            .op('i32.le_u'),
        () => {
          for (let u = 0; u < turns; u++) body(u * panel);
          f.bump(at, turns * panel);
        },
      );
    }
  }

  function hideLaterKeys(): void {
    const [n0, n1, here] = f.locals('v128', 3);
    [n0, n1].forEach((n, half) => {
      f.get(first)
        .get(p)
        .op('i32.add')
        .op('i32x4.splat')
        .i32x4(4 * half)
        .op('i32x4.add');
      f.i32x4(0);
      for (let l = 1; l < 4; l++) f.i32(l).lane('i32x4.replace_lane', l);
      f.op('i32x4.add').set(n);
    });
    f.get(key).op('i32x4.splat').set(here);
    eachKey(() => {
      [n0, n1].forEach((n, half) => {
        f.get(at)
          .f32x4(-Infinity)
          .get(at)
          .mem('v128.load', 16 * half);
        f.get(here)
          .get(n)
          .op('i32x4.gt_s')
          .op('v128.bitselect')
          .mem('v128.store', 16 * half);
      });
      f.get(here).i32x4(1).op('i32x4.add').set(here);
    });
  }

  function addMask(): void {
    const lanes = Array.from({ length: tile.nr }, () => i32());
    const [last, m] = [i32(), f.local('v128')];
    f.get(rows).i32(1).op('i32.sub').set(last);
    // Lanes without a query read the last row.
    lanes.forEach((lane, l) => {
      f.get(p).i32(l).op('i32.add').tee(at).get(last).get(at).get(last).op('i32.lt_u').op('select');
      f.get(first).op('i32.add');
      arg('maskRow');
      f.op('i32.mul').get(key);
      arg('maskColumn');
      f.op('i32.mul').op('i32.add').get(mask).op('i32.add').set(lane);
    });
    const step = i32();
    arg('maskColumn');
    f.set(step);
    eachKey(() => {
      for (const half of [0, 1]) {
        f.get(lanes[4 * half]!)
          .mem('v128.load32_zero')
          .set(m);
        for (let l = 1; l < 4; l++)
          f.get(lanes[4 * half + l]!)
            .get(m)
            .laneMem('v128.load32_lane', l)
            .set(m);
        f.get(at)
          .get(at)
          .mem('v128.load', 16 * half)
          .get(m)
          .f32x4(Math.LOG2E)
          .op('f32x4.mul')
          .op('f32x4.add');
        f.mem('v128.store', 16 * half);
      }
      for (const lane of lanes) f.bump(lane, step);
    });
  }

  /** Scores → 2^(score - maximum), with what was summed so far brought to the new maximum. */
  function softmaxPanel(): void {
    const halves = [0, 1].map(() => ({
      top: f.local('v128'),
      also: f.local('v128'),
      old: f.local('v128'),
      base: f.local('v128'),
      alpha: f.local('v128'),
      sum: f.local('v128'),
      x: f.local('v128'),
    }));
    const constants = exp2Constants(f);
    halves.forEach(
      (h, n) =>
        void f
          .get(statistic)
          .mem('v128.load', 16 * n)
          .tee(h.old)
          .tee(h.top)
          .set(h.also),
    );
    eachKey((offset) => {
      halves.forEach((h, n) => {
        const top = offset === 0 ? h.top : h.also;
        f.get(top)
          .get(at)
          .mem('v128.load', offset + 16 * n)
          .op('f32x4.pmax')
          .set(top);
      });
    }, 2);
    halves.forEach((h, n) => {
      f.get(statistic)
        .get(h.top)
        .get(h.also)
        .op('f32x4.pmax')
        .tee(h.top)
        .mem('v128.store', 16 * n);
      // All masked so far: subtract 0, so that 2^-inf gives 0 and not NaN.
      f.f32x4(0).get(h.top).get(h.top).f32x4(-Infinity).op('f32x4.eq').op('v128.bitselect').set(h.base);
      f.get(h.old).get(h.base).op('f32x4.sub').set(h.x);
      exp2(f, h.x, constants, relaxed);
      f.set(h.alpha).f32x4(0).set(h.sum);
    });
    eachKey(() => {
      halves.forEach((h, n) => {
        f.get(at)
          .mem('v128.load', 16 * n)
          .get(h.base)
          .op('f32x4.sub')
          .set(h.x);
        exp2(f, h.x, constants, relaxed);
        f.set(h.x)
          .get(at)
          .get(h.x)
          .mem('v128.store', 16 * n)
          .get(h.sum)
          .get(h.x)
          .op('f32x4.add')
          .set(h.sum);
      });
    });
    place(source, total, p, 4);
    halves.forEach((h, n) => {
      f.get(source)
        .get(source)
        .mem('v128.load', 16 * n)
        .get(h.alpha)
        .op('f32x4.mul')
        .get(h.sum)
        .op('f32x4.add');
      f.mem('v128.store', 16 * n);
    });
    const [h0, h1] = halves as [(typeof halves)[0], (typeof halves)[0]];
    f.get(h0.alpha)
      .f32x4(1)
      .op('f32x4.ne')
      .get(h1.alpha)
      .f32x4(1)
      .op('f32x4.ne')
      .op('v128.or')
      .op('v128.any_true')
      .if(() => {
        const stop = i32();
        f.get(sums).set(at);
        place(stop, sums, padded, panel);
        f.for(at, stop, panel, () => {
          halves.forEach((h, n) => {
            f.get(at)
              .get(at)
              .mem('v128.load', 16 * n)
              .get(h.alpha)
              .op('f32x4.mul')
              .mem('v128.store', 16 * n);
          });
        });
      });
  }

  /** out = acc / total for the queries of panel p: turned into lines first, then stored in the output's dtype. */
  function writePanel(): void {
    const [lineBytes, row, to, stop, value] = [i32(), i32(), i32(), i32(), f.local('v128')];
    const totals = [f.local('v128'), f.local('v128')];
    const lanes = Array.from({ length: tile.nr }, () => i32());
    f.get(size).i32(3).op('i32.add').i32(-4).op('i32.and').i32(4).op('i32.mul').set(lineBytes);
    place(source, total, p, 4);
    totals.forEach(
      (t, n) =>
        void f
          .get(source)
          .mem('v128.load', 16 * n)
          .set(t),
    );
    lanes.forEach((lane, l) => place(lane, lines, lineBytes, l));
    place(sums, acc, p, padded, 4);
    place(stop, sums, size, panel);
    f.for(sums, stop, panel, () => {
      totals.forEach((t, n) => {
        f.get(sums)
          .mem('v128.load', 16 * n)
          .get(t)
          .op('f32x4.div')
          .set(value);
        for (let l = 0; l < 4; l++)
          f.get(lanes[4 * n + l]!)
            .get(value)
            .laneMem('v128.store32_lane', l);
      });
      for (const lane of lanes) f.bump(lane, 4);
    });
    f.get(lines).set(source);
    least(rows, p, tile.nr);
    f.get(p).op('i32.add').set(stop).get(p).set(row);
    f.for(row, stop, 1, () => {
      f.get(out).get(first).get(row).op('i32.add');
      arg('outRow');
      f.op('i32.mul').op('i32.add').set(to).get(source).set(at).i32(4).set(i);
      f.while(
        () => void f.get(i).get(size).op('i32.le_u'),
        () => {
          f.get(at).mem('v128.load').set(value);
          storeVector(f, outType, to, value);
          f.bump(at, 16)
            .bump(to, 4 * sizeOf[outType])
            .bump(i, 4);
        },
      );
      f.bump(i, -4);
      f.for(i, size, 1, () => {
        f.get(at).mem('v128.load32_splat').set(value);
        storeOne(f, outType, to, value);
        f.bump(at, 4).bump(to, sizeOf[outType]);
      });
      f.bump(source, lineBytes);
    });
  }
}
