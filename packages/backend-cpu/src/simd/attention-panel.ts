// The code of attention.ts for a panel of eight queries: scores against a block of keys, softmax, the weighted sum of
// values; and the result at the end.

import { panel, tile } from './attention-emission.ts';
import type { Emission } from './attention-emission.ts';
import { sizeOf, storeOne, storeVector } from './elements.ts';
import type { Local } from './emitter.ts';
import { exp2, exp2Constants } from './exp2.ts';

/** Eight queries against this block of keys. */
export function emitPanel(c: Emission): void {
  const {
    f,
    kind,
    parts,
    place,
    first,
    p,
    key,
    columns,
    size,
    padded,
    scores,
    highest,
    acc,
    qPack,
    kPack,
    vPack,
    i,
    sums,
    statistic,
    source,
  } = c;
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
      .if(() => hideLaterKeys(c));
  }
  if (kind === 'additive') addMask(c);
  softmaxPanel(c);
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

/** Runs `body` for each key of the block, whose scores are at `at` + offset; `unroll` of them a turn. */
function eachKey(c: Emission, body: (offset: number) => void, unroll = 1): void {
  const { f, place, columns, scores, at } = c;
  const stop = f.local('i32');
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

/** Scores of keys that lie after the query: -infinity. */
function hideLaterKeys(c: Emission): void {
  const { f, first, p, key, at } = c;
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
  eachKey(c, () => {
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

/** Scores and the additive mask, in powers of two. */
function addMask(c: Emission): void {
  const { f, arg, first, rows, key, mask, p, at } = c;
  const i32 = (): Local => f.local('i32');
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
  eachKey(c, () => {
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

/** Scores → 2^(score - maximum); sums so far are rescaled to the new maximum. */
// eslint-disable-next-line max-lines-per-function -- the code of one loop over two vectors, in the order in which it runs
function softmaxPanel(c: Emission): void {
  const { f, relaxed, place, p, total, padded, sums, statistic, source, at } = c;
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
  eachKey(
    c,
    (offset) => {
      halves.forEach((h, n) => {
        const top = offset === 0 ? h.top : h.also;
        f.get(top)
          .get(at)
          .mem('v128.load', offset + 16 * n)
          .op('f32x4.pmax')
          .set(top);
      });
    },
    2,
  );
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
  eachKey(c, () => {
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
      const stop = f.local('i32');
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
export function emitResult(c: Emission): void {
  const {
    f,
    arg,
    place,
    least,
    outType,
    p,
    i,
    at,
    out,
    first,
    rows,
    size,
    padded,
    total,
    lines,
    acc,
    sums,
    source,
  } = c;
  const i32 = (): Local => f.local('i32');
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
