// Kernels that work row by row on float32: softmax, layer and rms norm over the last axis, group norm in both
// formats. Rows are contiguous; other layouts are copied before (by the caller). Two passes for variances.

import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { clampRange } from './map.ts';
import { exp, sigmoid } from './vector-math.ts';

type F = FunctionBuilder;

export interface PreparedRows {
  /** Byte addresses: x, (weight, bias,) output. Absent weight and bias are 0. */
  run(pointers: readonly number[]): void;
}

/** The sum (or maximum) of the four lanes of `v`, in all lanes, into `v`. */
function acrossLanes(f: F, v: Local, op: 'f32x4.add' | 'f32x4.max'): void {
  f.get(v).get(v).get(v).shuffle32(2, 3, 0, 1).op(op).set(v);
  f.get(v).get(v).get(v).shuffle32(1, 0, 3, 2).op(op).set(v);
}

/**
 * For each vector of a row at `from` (bytes end at `end`): loads it into `v` and runs `body`; the tail comes one
 * element at a time with the other lanes holding `neutral`.
 */
function eachVector(
  f: F,
  from: Local,
  end: Local,
  v: Local,
  neutral: number,
  body: (store: (to: Local) => void) => void,
  step: (bytes: number) => void,
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
      body((to) => void f.get(to).get(v).laneMem('v128.store32_lane', 0));
      step(4);
    },
  );
}

/** Rows of a tile: args are [x, weight, bias, y, rows, length, rowsPerTile, …]. */
function forRows(
  f: F,
  body: (x: Local, y: Local, bytes: Local, arg: (w: number) => void, row: Local) => void,
): void {
  const [args, tile] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', 4 * w);
  const [row, rowEnd, x, y, bytes] = [
    f.local('i32'),
    f.local('i32'),
    f.local('i32'),
    f.local('i32'),
    f.local('i32'),
  ];
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

function prepareRows(
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

/** mean and 1/√(var + eps) of the `bytes` at x; uncentred: mean stays 0. */
function statistics(
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
    f.get(x).set(p).f32x4(0).set(total);
    eachVector(
      f,
      p,
      end,
      v,
      0,
      () => void f.get(total).get(v).op('f32x4.add').set(total),
      (n) => void f.bump(p, n),
    );
    acrossLanes(f, total, 'f32x4.add');
    f.get(total).get(count).op('f32x4.div').set(mean);
  }
  f.get(x).set(p).f32x4(0).set(total);
  // The tail's idle lanes hold the mean, so that they add nothing: loaded through a copy of it.
  f.while(
    () => void f.get(p).i32(16).op('i32.add').get(end).op('i32.le_u'),
    () => {
      f.get(p)
        .mem('v128.load')
        .get(mean)
        .op('f32x4.sub')
        .tee(v)
        .get(v)
        .op('f32x4.mul')
        .get(total)
        .op('f32x4.add')
        .set(total);
      f.bump(p, 16);
    },
  );
  f.while(
    () => void f.get(p).get(end).op('i32.lt_u'),
    () => {
      f.get(p)
        .get(mean)
        .laneMem('v128.load32_lane', 0)
        .get(mean)
        .op('f32x4.sub')
        .tee(v)
        .get(v)
        .op('f32x4.mul');
      f.get(total).op('f32x4.add').set(total);
      f.bump(p, 4);
    },
  );
  acrossLanes(f, total, 'f32x4.add');
  f.f32x4(1).get(total).get(count).op('f32x4.div');
  arg(7);
  f.op('f32.reinterpret_i32').op('f32x4.splat').op('f32x4.add').op('f32x4.sqrt').op('f32x4.div').set(scale);
}

const bitsOf = (x: number): number => new Int32Array(new Float32Array([x]).buffer)[0]!;

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
      const [w, b] = [f.local('i32'), f.local('i32')];
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
      eachVectorSplit(f, p, end, v, body(true), body(false), (n) => {
        f.bump(p, n).bump(q, n);
        if (weight) f.bump(w, n);
        if (bias) f.bump(b, n);
      });
    }),
  );
}

/** As eachVector, with different bodies for whole vectors and for the tail. */
function eachVectorSplit(
  f: F,
  from: Local,
  end: Local,
  v: Local,
  whole: (store: (to: Local) => void) => void,
  tail: (store: (to: Local) => void) => void,
  step: (bytes: number) => void,
): void {
  f.while(
    () => void f.get(from).i32(16).op('i32.add').get(end).op('i32.le_u'),
    () => {
      f.get(from).mem('v128.load').set(v);
      whole((to) => void f.get(to).get(v).mem('v128.store'));
      step(16);
    },
  );
  f.while(
    () => void f.get(from).get(end).op('i32.lt_u'),
    () => {
      f.get(from).mem('v128.load32_splat').set(v);
      tail((to) => void f.get(to).get(v).laneMem('v128.store32_lane', 0));
      step(4);
    },
  );
}

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
        const [mean, scale, v, a, b] = [
          f.local('v128'),
          f.local('v128'),
          f.local('v128'),
          f.local('v128'),
          f.local('v128'),
        ];
        const [p, q, end, c, channel, channelEnd] = [
          f.local('i32'),
          f.local('i32'),
          f.local('i32'),
          f.local('i32'),
          f.local('i32'),
          f.local('i32'),
        ];
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

function emitGroupNormLast(f: F, s: GroupNormSpec): void {
  const [args, tile, scratch] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', 4 * w);
  const i32 = (): Local => f.local('i32');
  const [x, y, pixel, inner, c, row, p, q, g, gEnd, k, kEnd] = [
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
    i32(),
  ];
  const [v, total, mean, count] = [f.local('v128'), f.local('f32'), f.local('f32'), f.local('f32')];
  const [sums, a, b] = [i32(), i32(), i32()];
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
  const clear = (): void => void f.get(sums).i32(0).get(row).fill();
  const eachPixel = (body: () => void): void => {
    f.get(x).set(p).get(y).set(q).i32(0).set(pixel);
    f.for(pixel, inner, 1, () => {
      body();
      f.bump(p, row).bump(q, row);
    });
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

  clear();
  eachPixel(() =>
    eachChannel((load, store) => {
      load(sums);
      load(p);
      f.op('f32x4.add').set(v);
      store(sums);
    }),
  );
  // b holds the mean of each channel's group until a and b are known.
  eachGroup(
    () => void f.get(total).get(count).op('f32.div').set(mean),
    () => void f.get(b).get(k).op('i32.add').get(mean).mem('f32.store'),
  );
  clear();
  eachPixel(() =>
    eachChannel((load, store) => {
      load(p);
      load(b);
      f.op('f32x4.sub').set(v);
      f.get(v).get(v).op('f32x4.mul');
      load(sums);
      f.op('f32x4.add').set(v);
      store(sums);
    }),
  );
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
