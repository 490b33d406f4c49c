// Sums, maxima and minima over any axes in float32, with expressions before and after. Other inputs than float32 of the
// form [outer, reduced, inner] are copied to that form first. Sums are two-level, so that errors do not grow with the
// size; their order depends on shapes only, never on threads. argmax is left to the reference kernel (undefined).

import type { Expr } from '@darkroom/core';
import type { FunctionBuilder, Local } from './emitter.ts';
import type { Engine } from './engine.ts';
import { prepareMap } from './map.ts';
import type { MapOperand } from './map.ts';
import { columnArgs, columnWord, forStrips } from './column-loop.ts';

export interface ReduceSpec {
  readonly fn: 'sum' | 'max' | 'min' | 'argmax';
  readonly shape: readonly number[];
  readonly axes: readonly number[];
  readonly pre?: Expr | undefined;
  readonly post?: Expr | undefined;
  readonly x: MapOperand;
  /** Strides for each axis of x; those of reduced axes are ignored. */
  readonly y: MapOperand;
}

export interface PreparedReduce {
  run(x: number, y: number): void;
}

type Fn = 'sum' | 'max' | 'min';
const combine = { sum: 'f32x4.add', max: 'f32x4.max', min: 'f32x4.min' } as const;
const neutral: Readonly<Record<Fn, number>> = { sum: 0, max: -Infinity, min: Infinity };

/** Turns summed before they are added to the total: both sums then have about √turns terms. */
const groupOf = (turns: number): number => Math.max(64, Math.ceil(Math.sqrt(turns)));

interface Form {
  readonly outer: number;
  readonly reduced: number;
  readonly inner: number;
  readonly outerStride: number;
  readonly reducedStride: number;
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** x as [outer, reduced, inner] with inner (or, without one, reduced) dense; undefined if it has another form. */
function formOf({ shape, axes, x }: ReduceSpec): Form | undefined {
  const merged: { reduced: boolean; size: number; stride: number }[] = [];
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const stride = x.strides[axis]!;
    const reduced = axes.includes(axis);
    const last = merged.at(-1);
    if (last?.reduced === reduced && last.stride === stride * size) {
      last.size *= size;
      last.stride = stride;
    } else merged.push({ reduced, size, stride });
  }
  const none = { reduced: false, size: 1, stride: 1 };
  const outer = merged[0]?.reduced === false ? merged.shift()! : none;
  const along = merged[0]?.reduced === true ? merged.shift()! : { ...none, stride: 1 };
  const inner = merged.shift() ?? none;
  const dense = inner.size === 1 ? along.stride === 1 : !inner.reduced && inner.stride === 1;
  if (merged.length > 0 || !dense) return undefined;
  return {
    outer: outer.size,
    reduced: along.size,
    inner: inner.size,
    outerStride: outer.stride,
    reducedStride: along.stride,
  };
}

export function prepareReduce(engine: Engine, spec: ReduceSpec): PreparedReduce | undefined {
  const { fn, shape, axes, pre, post, x, y } = spec;
  if (fn === 'argmax') return undefined;
  const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const count = product(kept);
  if (count === 0) return { run() {} };
  const seen = pre === undefined && x.dtype === 'float32' ? formOf(spec) : undefined;

  // Otherwise: kept axes first, the reduced ones together and last, through `pre`.
  const total = product(shape);
  const bringStrides = shape.map(() => 0);
  let step = 1;
  const order = shape
    .map((_, axis) => axis)
    .sort((a, b) => Number(axes.includes(a)) - Number(axes.includes(b)) || a - b);
  for (const axis of order.toReversed()) {
    bringStrides[axis] = step;
    step *= shape[axis]!;
  }
  const dense: MapOperand = { dtype: 'float32', strides: bringStrides };
  const bring = seen
    ? undefined
    : prepareMap(engine, { expr: pre ?? ['in', 0], shape, inputs: [x], output: dense });
  if (!seen && !bring) return undefined;
  const reduced = total / count;
  const form = seen ?? { outer: count, reduced, inner: 1, outerStride: reduced, reducedStride: 1 };

  // Results are dense in the order of the kept axes.
  const results = resultStrides(kept);
  const direct =
    post === undefined &&
    y.dtype === 'float32' &&
    kept.every((d, i) => d === 1 || y.strides[i] === results[i]);
  const yStrides = y.strides.map((s, i) => (kept[i] === 1 ? 0 : s));
  const finish = direct
    ? undefined
    : prepareMap(engine, {
        expr: post ?? ['in', 0],
        shape: kept,
        inputs: [{ dtype: 'float32', strides: results }],
        output: { dtype: y.dtype, strides: yStrides },
      });
  if (!direct && !finish) return undefined;
  const body = form.inner === 1 ? prepareAlong(engine, fn, form) : prepareAcross(engine, fn, form);
  return {
    run(from, to) {
      const source = bring ? engine.alloc(4 * total) : from;
      const target = finish ? engine.alloc(4 * count) : to;
      bring?.run([from, source], []);
      body(source, target);
      finish?.run([target, to], []);
      if (bring) engine.free(source);
      if (finish) engine.free(target);
    },
  };
}

function resultStrides(kept: readonly number[]): number[] {
  const strides = kept.map(() => 0);
  let step = 1;
  for (let i = kept.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= kept[i]!;
  }
  return strides;
}

/** Rows that lie densely: four vectors at a time, then across lanes. */
function prepareAlong(engine: Engine, fn: Fn, form: Form): (x: number, y: number) => void {
  const code = engine.code(`reduce/along ${fn}`, (module) => {
    module.add(['i32', 'i32', 'i32'], (f) => emitAlong(f, fn), 'tile');
  });
  const perTile = Math.max(1, Math.floor(16384 / Math.max(1, form.reduced)));
  const args = new Float64Array([
    0,
    0,
    form.outer,
    form.reduced,
    form.outerStride * 4,
    perTile,
    64 * groupOf(form.reduced / 16),
  ]);
  const tiles = Math.ceil(form.outer / perTile);
  return (x, y) => {
    args[0] = x;
    args[1] = y;
    engine.run(code, args, tiles, form.outer * form.reduced * 4);
  };
}

function emitAlong(f: FunctionBuilder, fn: Fn): void {
  const [args, tile] = f.params as [Local, Local, Local];
  const arg = (w: number): void => void f.get(args).mem('i32.load', 4 * w);
  const [row, rowEnd, rows, p, end, stop, to] = f.locals('i32', 7);
  const parts = Array.from({ length: 4 }, () => f.local('v128'));
  const total = f.local('v128');
  const add = (into: Local, push: () => void): void => {
    f.get(into);
    push();
    f.op(combine[fn]).set(into);
  };
  arg(2);
  f.set(rows).get(tile);
  arg(5);
  f.op('i32.mul').tee(row);
  arg(5);
  f.op('i32.add').set(rowEnd);
  f.get(rowEnd).get(rows).get(rowEnd).get(rows).op('i32.lt_u').op('select').set(rowEnd);
  f.for(row, rowEnd, 1, () => {
    arg(0);
    f.get(row);
    arg(4);
    f.op('i32.mul').op('i32.add').tee(p);
    arg(3);
    f.i32(4).op('i32.mul').op('i32.add').set(end);
    f.f32x4(neutral[fn]).set(total);
    // Groups of turns of four vectors; the last group ends with the row.
    f.while(
      () => void f.get(p).i32(64).op('i32.add').get(end).op('i32.le_u'),
      () => {
        for (const part of parts) f.f32x4(neutral[fn]).set(part);
        f.get(p);
        arg(6);
        f.op('i32.add').set(stop);
        f.get(stop).get(end).get(stop).get(end).op('i32.lt_u').op('select').set(stop);
        f.while(
          () => void f.get(p).i32(64).op('i32.add').get(stop).op('i32.le_u'),
          () => {
            parts.forEach((part, i) => add(part, () => void f.get(p).mem('v128.load', 16 * i)));
            f.bump(p, 64);
          },
        );
        for (const part of parts) add(total, () => void f.get(part));
      },
    );
    // One by one, into the first lane.
    f.while(
      () => void f.get(p).get(end).op('i32.lt_u'),
      () => {
        add(total, () => void f.get(p).f32x4(neutral[fn]).laneMem('v128.load32_lane', 0));
        f.bump(p, 4);
      },
    );
    f.get(total).get(total).get(total).shuffle32(2, 3, 0, 1).op(combine[fn]).set(total);
    f.get(total).get(total).get(total).shuffle32(1, 0, 3, 2).op(combine[fn]).set(total);
    arg(1);
    f.get(row).i32(4).op('i32.mul').op('i32.add').set(to);
    f.get(to).get(total).laneMem('v128.store32_lane', 0);
  });
}

/** Down the rows, columns in vectors. */
function prepareAcross(engine: Engine, fn: Fn, form: Form): (x: number, y: number) => void {
  const code = engine.code(`reduce/across ${fn}`, (module) => {
    module.add(['i32', 'i32', 'i32'], (f) => emitAcross(f, fn), 'tile');
  });
  const { outer, reduced, inner } = form;
  const args = columnArgs({
    length: reduced,
    inner,
    rowStride: form.reducedStride,
    outerStride: form.outerStride,
  });
  args[columnWord.group] = groupOf(reduced);
  const tiles = outer * args[columnWord.columnTiles]!;
  return (x, y) => {
    args[columnWord.x] = x;
    args[columnWord.y] = y;
    engine.run(code, args, tiles, outer * reduced * inner * 4);
  };
}

function emitAcross(f: FunctionBuilder, fn: Fn): void {
  const [args] = f.params as [Local, Local, Local];
  const [p, stop, to] = f.locals('i32', 3);
  forStrips(f, ({ vectors, x, end, stride, outer, column, load, store }) => {
    const local = (): Local => f.local('v128');
    const [total, part] = [Array.from({ length: vectors }, local), Array.from({ length: vectors }, local)];
    for (const t of total) f.f32x4(neutral[fn]).set(t);
    f.get(x).set(p);
    f.while(
      () => void f.get(p).get(end).op('i32.lt_u'),
      () => {
        for (const t of part) f.f32x4(neutral[fn]).set(t);
        f.get(stride)
          .get(args)
          .mem('i32.load', 4 * columnWord.group)
          .op('i32.mul')
          .get(p)
          .op('i32.add')
          .set(stop);
        f.get(stop).get(end).get(stop).get(end).op('i32.lt_u').op('select').set(stop);
        f.while(
          () => void f.get(p).get(stop).op('i32.ne'),
          () => {
            part.forEach((t, v) => {
              f.get(t);
              load(p, v);
              f.op(combine[fn]).set(t);
            });
            f.bump(p, stride);
          },
        );
        total.forEach((t, v) => void f.get(t).get(part[v]!).op(combine[fn]).set(t));
      },
    );
    f.get(args)
      .mem('i32.load', 4 * columnWord.y)
      .get(column)
      .op('i32.add')
      .get(outer);
    f.get(args)
      .mem('i32.load', 4 * columnWord.inner)
      .i32(4)
      .op('i32.mul')
      .op('i32.mul')
      .op('i32.add')
      .set(to);
    total.forEach((t, v) => store(to, t, v));
  });
}
