// Group norm in float32, contiguous and channels-last, with optional weight, bias and silu.

import type { Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { bitsOf, eachVector, forRows, prepareRows, statistics } from './row-loop.ts';
import type { F, PreparedRows } from './row-loop.ts';
import { sigmoid } from './vector-math.ts';

interface GroupNormSpec {
  readonly n: number;
  readonly channels: number;
  readonly groups: number;
  /** Elements per channel. */
  readonly inner: number;
  readonly eps: number;
  readonly affine: 0 | 1 | 2;
  readonly silu: boolean;
}

function siluInPlace(f: F, v: Local): void {
  f.get(v);
  sigmoid(f, v);
  f.op('f32x4.mul').set(v);
}

/** Contiguous x [n, channels, inner]: a group is one run of memory, a tile a few groups. */
export function prepareGroupNorm(engine: Engine, s: GroupNormSpec): PreparedRows {
  const perGroup = s.channels / s.groups;
  const extra = [bitsOf(s.eps), s.inner, perGroup, s.groups];
  return prepareRows(
    engine,
    `groupNorm ${s.affine} ${s.silu}`,
    s.n * s.groups,
    perGroup * s.inner,
    extra,
    (f) =>
      forRows(f, (x, y, bytes, arg, row) => {
        const [mean, scale, v, a, b] = f.locals('v128', 5);
        const [p, q, end, c, channel, channelEnd] = f.locals('i32', 6);
        statistics(f, x, bytes, arg, true, mean, scale);
        f.get(x).set(p).get(y).set(q);
        // First channel of this group: (row mod groups) · channels per group.
        f.get(row);
        arg(10);
        f.op('i32.rem_u');
        arg(9);
        f.op('i32.mul').tee(channel);
        arg(9);
        f.op('i32.add').set(channelEnd);
        f.for(channel, channelEnd, 1, () => {
          // y = x·a + b with a = scale·weight, b = bias - mean·a.
          f.get(channel).i32(2).op('i32.shl').set(c);
          f.get(scale);
          if (s.affine > 0) {
            arg(1);
            f.get(c).op('i32.add').mem('v128.load32_splat').op('f32x4.mul');
          }
          f.set(a);
          if (s.affine > 1) {
            arg(2);
            f.get(c).op('i32.add').mem('v128.load32_splat');
          } else f.f32x4(0);
          f.set(b);
          f.get(p);
          arg(8);
          f.i32(2).op('i32.shl').op('i32.add').set(end);
          eachVector(
            f,
            p,
            end,
            v,
            0,
            (store) => {
              f.get(v).get(mean).op('f32x4.sub').get(a).op('f32x4.mul').get(b).op('f32x4.add').set(v);
              if (s.silu) siluInPlace(f, v);
              store(q);
            },
            (n) => void f.bump(p, n).bump(q, n),
          );
        });
      }),
  );
}

/**
 * Channels-last x [n, inner, channels]: per-channel sums along the pixels, then group statistics, in scratch. A tile
 * is one image. Scratch: sums, then a and b, [channels] each.
 */
export function prepareGroupNormLast(engine: Engine, s: GroupNormSpec): PreparedRows {
  const extra = [bitsOf(s.eps), s.channels, s.channels / s.groups, s.groups];
  engine.reserveScratch(16 * s.channels + 256);
  const code = engine.code(`groupNormLast ${s.affine} ${s.silu}`, (module) => {
    module.add(['i32', 'i32', 'i32'], (f) => emitGroupNormLast(f, s), 'tile');
  });
  const args = new Float64Array([0, 0, 0, 0, s.n, s.inner, 1, ...extra]);
  const work = s.n * s.inner * s.channels * 16;
  return {
    run(pointers) {
      if (work === 0) return;
      args[0] = pointers[0]!;
      args[1] = pointers.length > 2 ? pointers[1]! : 0;
      args[2] = pointers.length > 3 ? pointers[2]! : 0;
      args[3] = pointers.at(-1)!;
      engine.run(code, args, s.n, work);
    },
  };
}

/** Pixels that one accumulator of the channels-last kernel sums. */
const pixelBlock = 1024;

// eslint-disable-next-line max-lines-per-function -- one kernel's code: named loops over its locals, called at the end
function emitGroupNormLast(f: F, s: GroupNormSpec): void {
  const [args, tile, scratch] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', 4 * w);
  const i32 = (): Local => f.local('i32');
  const [x, y, pixel, inner, c, row, p, q, g, gEnd, k, kEnd] = f.locals('i32', 12);
  const [v, total, mean, count] = [f.local('v128'), f.local('f32'), f.local('f32'), f.local('f32')];
  const [sums, a, b, blockEnd] = f.locals('i32', 4);
  arg(8);
  f.i32(2).op('i32.shl').set(row); // bytes of one pixel
  arg(5);
  f.set(inner);
  f.get(scratch).set(sums).get(sums).get(row).op('i32.add').set(a).get(a).get(row).op('i32.add').set(b);
  const image = (base: number, out: Local): void => {
    arg(base);
    f.get(tile).get(inner).op('i32.mul').get(row).op('i32.mul').op('i32.add').set(out);
  };
  image(0, x);
  image(3, y);
  arg(9);
  f.get(inner).op('i32.mul').op('f32.convert_i32_u').set(count);

  /** Channel by channel, as vectors then singles: `body` gets load and store of a row of floats at a pointer. */
  const eachChannel = (body: (load: (base: Local) => void, store: (base: Local) => void) => void): void => {
    f.i32(0).set(c);
    const at = (base: Local): void => void f.get(base).get(c).op('i32.add');
    f.while(
      () => void f.get(c).i32(16).op('i32.add').get(row).op('i32.le_u'),
      () => {
        body(
          (base) => (at(base), void f.mem('v128.load')),
          (base) => (at(base), void f.get(v).mem('v128.store')),
        );
        f.bump(c, 16);
      },
    );
    f.while(
      () => void f.get(c).get(row).op('i32.lt_u'),
      () => {
        body(
          (base) => (at(base), void f.mem('v128.load32_splat')),
          (base) => (at(base), void f.get(v).laneMem('v128.store32_lane', 0)),
        );
        f.bump(c, 4);
      },
    );
  };
  const clear = (base: Local): void => void f.get(base).i32(0).get(row).fill();
  const eachPixel = (body: () => void): void => {
    f.get(x).set(p).get(y).set(q).i32(0).set(pixel);
    f.for(pixel, inner, 1, () => {
      body();
      f.bump(p, row).bump(q, row);
    });
  };
  /**
   * sums = Σ over pixels of what `body` adds to `a`, which is not in use yet. In blocks: a picture's pixels in one
   * float32 accumulator would lose digits.
   */
  const sumPixels = (body: (load: (base: Local) => void) => void): void => {
    clear(sums);
    f.get(x).set(p).i32(0).set(pixel);
    f.while(
      () => void f.get(pixel).get(inner).op('i32.lt_u'),
      () => {
        f.get(pixel).i32(pixelBlock).op('i32.add').set(blockEnd);
        f.get(inner).get(blockEnd).get(inner).get(blockEnd).op('i32.lt_u').op('select').set(blockEnd);
        clear(a);
        f.for(pixel, blockEnd, 1, () => {
          eachChannel((load, store) => {
            body(load);
            load(a);
            f.op('f32x4.add').set(v);
            store(a);
          });
          f.bump(p, row);
        });
        eachChannel((load, store) => {
          load(sums);
          load(a);
          f.op('f32x4.add').set(v);
          store(sums);
        });
      },
    );
  };
  /** For each group: `total` of its channels' sums, then `use`, then each of its channels (byte offset k). */
  const eachGroup = (use: () => void, channel: () => void): void => {
    f.i32(0).set(g).get(row).set(gEnd).i32(0).set(k);
    f.while(
      () => void f.get(k).get(row).op('i32.lt_u'),
      () => {
        f.f32(0).set(total).get(k).set(g).get(k);
        arg(9);
        f.i32(2).op('i32.shl').op('i32.add').set(kEnd);
        f.for(
          g,
          kEnd,
          4,
          () => void f.get(total).get(sums).get(g).op('i32.add').mem('f32.load').op('f32.add').set(total),
        );
        use();
        f.for(k, kEnd, 4, channel);
      },
    );
  };

  sumPixels((load) => load(p));
  // b holds the mean of each channel's group until a and b are known.
  eachGroup(
    () => void f.get(total).get(count).op('f32.div').set(mean),
    () => void f.get(b).get(k).op('i32.add').get(mean).mem('f32.store'),
  );
  sumPixels((load) => {
    load(p);
    load(b);
    f.op('f32x4.sub').set(v).get(v).get(v).op('f32x4.mul');
  });
  eachGroup(
    () => {
      f.f32(1).get(total).get(count).op('f32.div');
      arg(7);
      f.op('f32.reinterpret_i32').op('f32.add').op('f32.sqrt').op('f32.div').set(mean);
    },
    () => {
      f.get(a).get(k).op('i32.add').get(mean);
      if (s.affine > 0) {
        arg(1);
        f.get(k).op('i32.add').mem('f32.load').op('f32.mul');
      }
      f.mem('f32.store');
    },
  );
  eachPixel(() =>
    eachChannel((load, store) => {
      load(p);
      load(b);
      f.op('f32x4.sub');
      load(a);
      f.op('f32x4.mul');
      if (s.affine > 1) {
        const bias = i32();
        arg(2);
        f.set(bias);
        load(bias);
        f.op('f32x4.add');
      }
      f.set(v);
      if (s.silu) siluInPlace(f, v);
      store(q);
    }),
  );
}
