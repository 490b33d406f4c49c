import { bfloat16ToFloat32, float32ToBfloat16, layoutOf } from '@darkroom/core/backend';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Engine } from './engine.ts';
import { prepareReduce } from './reduce.ts';
import type { ReduceSpec } from './reduce.ts';
import { prepareSoftmaxAcross } from './softmax.ts';

const engines = await Promise.all([Engine.create({ threads: 1 }), Engine.create({ threads: 3 })]);
afterAll(() => engines.forEach((e) => e.dispose()));
const floats = (engine: Engine, at: number, n: number): Float32Array =>
  new Float32Array(engine.memory.buffer, at, n);

/** Every coordinate of `shape`, in row-major order. */
function* coordinates(shape: readonly number[]): Generator<number[]> {
  const [first, ...rest] = shape;
  if (first === undefined) return yield [];
  for (let i = 0; i < first; i++) for (const c of coordinates(rest)) yield [i, ...c];
}
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * b[i]!, 0);

const size = fc.oneof(fc.constantFrom(0, 1, 2, 64), fc.integer({ min: 1, max: 21 }));
const cases = fc.record({
  shape: fc.array(size, { minLength: 1, maxLength: 4 }),
  reduced: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
  order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
  fn: fc.constantFrom('sum' as const, 'max' as const, 'min' as const),
  narrow: fc.boolean(),
  square: fc.boolean(),
  halve: fc.boolean(),
  which: fc.nat(1),
});

test('reductions over any axes, strides and dtype agree with the definition', () => {
  fc.assert(
    fc.property(cases, ({ shape, reduced, order, fn, narrow, square, halve, which }) => {
      const engine = engines[which]!;
      const axes = shape.flatMap((d, i) => (reduced[i] && (d > 0 || fn === 'sum') ? [i] : []));
      const total = shape.reduce((a, b) => a * b, 1);
      fc.pre(total <= 60_000);
      // Strides of x: the axes in any order.
      const ranks = order.filter((a) => a < shape.length);
      const permuted = layoutOf(ranks.map((a) => shape[a]!)).strides;
      const strides = shape.map((_, a) => permuted[ranks.indexOf(a)]!);
      const kept = shape.map((d, i) => (axes.includes(i) ? 1 : d));
      const count = kept.reduce((a, b) => a * b, 1);
      const values = Float32Array.from({ length: total }, (_, i) =>
        bfloat16ToFloat32(float32ToBfloat16(Math.sin(i * 1.7) + 0.3)),
      );
      const [x, y] = [engine.alloc(4 * total), engine.alloc(4 * count)];
      if (narrow) new Uint16Array(engine.memory.buffer, x, total).set(Array.from(values, float32ToBfloat16));
      else floats(engine, x, total).set(values);
      floats(engine, y, count).fill(NaN);
      const yStrides = layoutOf(kept).strides;
      const spec: ReduceSpec = {
        fn, shape, axes,
        ...(square && { pre: ['mul', ['in', 0], ['in', 0]] }),
        ...(halve && { post: ['mul', ['in', 0], 0.5] }),
        x: { dtype: narrow ? 'bfloat16' : 'float32', strides },
        y: { dtype: 'float32', strides: yStrides },
      }; // prettier-ignore
      prepareReduce(engine, spec)!.run(x, y);
      const got = floats(engine, y, count);
      const inner = shape.map((d, i) => (axes.includes(i) ? d : 1));
      for (const base of coordinates(kept)) {
        let [want, magnitude] = [fn === 'sum' ? 0 : fn === 'max' ? -Infinity : Infinity, 0];
        for (const c of coordinates(inner)) {
          const v = values[dot(base, strides) + dot(c, strides)]!;
          const e = square ? v * v : v;
          want = fn === 'sum' ? want + e : fn === 'max' ? Math.max(want, e) : Math.min(want, e);
          magnitude += Math.abs(e);
        }
        if (halve) want *= 0.5;
        const found = got[dot(base, yStrides)]!;
        const error = Math.abs(found - want);
        expect(
          error <= 1e-6 * (fn === 'sum' ? magnitude : Math.abs(want)) + 1e-7,
          `${found}, not ${want}`,
        ).toBe(true);
      }
      engine.free(x);
      engine.free(y);
    }),
    { numRuns: 400 },
  );
});

test('long sums keep their precision, in both directions', () => {
  const engine = engines[0]!;
  const n = 1 << 22;
  const [x, y] = [engine.alloc(4 * n), engine.alloc(4 * 4)];
  floats(engine, x, n).fill(0.1);
  const out = { dtype: 'float32', strides: [0, 1] } as const;
  for (const [shape, columns] of [[[1, n], 1], [[n / 4, 4], 4]] as const) {
    const axes = columns === 1 ? [0, 1] : [0];
    prepareReduce(engine, { fn: 'sum', shape, axes, x: { dtype: 'float32', strides: [columns, 1] }, y: out })!.run(x, y);
    const want = (Math.fround(0.1) * n) / columns;
    for (const found of floats(engine, y, columns)) expect(Math.abs(found / want - 1) <= 4e-5, `${found}, not ${want}`).toBe(true);
  } // prettier-ignore
  engine.free(x);
  engine.free(y);
});

test('NaN comes through every reduction', () => {
  const engine = engines[0]!;
  const [x, y] = [engine.alloc(4 * 40), engine.alloc(4 * 40)];
  for (const fn of ['sum', 'max', 'min'] as const) {
    for (const [shape, axis, at] of [[[1, 40], 1, 17], [[1, 40], 1, 39], [[20, 2], 0, 13]] as const) {
      floats(engine, x, 40).fill(1)[at] = NaN;
      const strides = [shape[1], 1];
      prepareReduce(engine, { fn, shape, axes: [axis], x: { dtype: 'float32', strides }, y: { dtype: 'float32', strides: [1, 1] } })!.run(x, y);
      expect(floats(engine, y, 40)[axis === 1 ? 0 : 1]).toBeNaN();
    }
  } // prettier-ignore
  engine.free(x);
  engine.free(y);
});

test('softmax across rows agrees with the definition; -infinities alone give NaN', () => {
  const dims = fc.tuple(
    fc.integer({ min: 0, max: 4 }),
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 90 }),
  );
  fc.assert(
    fc.property(dims, fc.nat(1), fc.boolean(), ([outer, length, inner], which, inPlace) => {
      const engine = engines[which]!;
      const n = outer * length * inner;
      const [x, own] = [engine.alloc(4 * n), engine.alloc(4 * n)];
      const y = inPlace ? x : own;
      const values = Float32Array.from({ length: n }, (_, i) =>
        i % inner === 3 ? -Infinity : 100 + 5 * Math.sin(i * 1.3),
      );
      floats(engine, x, n).set(values);
      prepareSoftmaxAcross(engine, outer, length, inner).run(x, y);
      const got = floats(engine, y, n);
      for (let o = 0; o < outer; o++) {
        for (let c = 0; c < inner; c++) {
          const at = (r: number): number => (o * length + r) * inner + c;
          const column = Array.from({ length }, (_, r) => values[at(r)]!);
          const top = Math.max(...column);
          const total = column.reduce((sum, v) => sum + Math.exp(v - top), 0);
          column.forEach((v, r) => {
            const want = Math.exp(v - top) / total;
            if (Number.isNaN(want)) expect(got[at(r)]).toBeNaN();
            else expect(Math.abs(got[at(r)]! - want) <= 1e-6 * want, `${got[at(r)]}, not ${want}`).toBe(true);
          });
        }
      }
      engine.free(x);
      engine.free(own);
    }),
    { numRuns: 80 },
  );
});
