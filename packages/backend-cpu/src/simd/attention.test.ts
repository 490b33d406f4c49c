import { float16ToFloat32, float32ToFloat16 } from '@darkroom/core/backend';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Engine } from './engine.ts';
import { prepareAttention } from './attention.ts';
import type { AttentionSpec } from './attention.ts';

const engines = await Promise.all([
  Engine.create({ threads: 1 }),
  Engine.create({ threads: 3, relaxed: false }),
]);
afterAll(() => engines.forEach((e) => e.dispose()));

interface Case {
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly mask: 'none' | 'causal' | 'additive';
  readonly half: boolean;
  /** Keys and values lie with the head dimension outermost. */
  readonly across: boolean;
}

function check(engine: Engine, c: Case, spread: number): Float64Array {
  const { heads, queries, keys, size } = c;
  const width = c.half ? 2 : 4;
  const counts = [queries, keys, keys].map((l) => heads * l * size);
  const values = counts.map((n, t) =>
    Float64Array.from({ length: n }, (_, i) => {
      const x = Math.fround(spread * Math.sin(i * (1.3 + t) + t));
      return c.half ? float16ToFloat32(float32ToFloat16(x)) : x;
    }),
  );
  const at = [...counts, heads * queries * size].map((n) => engine.alloc(n * width));
  const maskAt = engine.alloc(4 * queries * keys);
  values.forEach((x, t) => {
    if (c.half) new Uint16Array(engine.memory.buffer, at[t], x.length).set(Array.from(x, float32ToFloat16));
    else new Float32Array(engine.memory.buffer, at[t], x.length).set(x);
  });
  const mask = Float32Array.from({ length: queries * keys }, (_, i) =>
    i % 7 === 3 ? -Infinity : Math.cos(i),
  );
  new Float32Array(engine.memory.buffer, maskAt, mask.length).set(mask);
  const [kRow, kStep] = c.across ? [1, keys] : [size, 1];
  const dtype = c.half ? ('float16' as const) : ('float32' as const);
  const spec: AttentionSpec = {
    queries, keys, size,
    scale: 1 / Math.sqrt(size),
    rows: { q: size, k: kRow, v: kRow, out: size },
    steps: { q: 1, k: kStep, v: kStep },
    dtypes: { q: dtype, k: dtype, v: dtype, out: dtype },
    mask: c.mask === 'additive' ? { row: keys, column: 1 } : c.mask,
    batches: Array.from({ length: heads }, (_, h) => [h * queries * size, h * keys * size, h * keys * size, 0, h * queries * size] as const),
  }; // prettier-ignore
  prepareAttention(engine, spec).run(at[0]!, at[1]!, at[2]!, maskAt, at[3]!);
  const n = heads * queries * size;
  const raw = c.half
    ? Array.from(new Uint16Array(engine.memory.buffer, at[3], n), float16ToFloat32)
    : new Float32Array(engine.memory.buffer, at[3], n);
  const got = Float64Array.from(raw);
  const [q, k, v] = values as [Float64Array, Float64Array, Float64Array];
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < queries; i++) {
      const key = (j: number, d: number): number => h * keys * size + j * kRow + d * kStep;
      const scores = Array.from({ length: keys }, (_, j) => {
        let s = 0;
        for (let d = 0; d < size; d++) s += q[(h * queries + i) * size + d]! * k[key(j, d)]!;
        s *= spec.scale;
        if (c.mask === 'additive') s += mask[i * keys + j]!;
        return c.mask === 'causal' && j > i ? -Infinity : s;
      });
      const top = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let d = 0; d < size; d++) {
        const want = weights.reduce((sum, w, j) => sum + (w / total) * v[key(j, d)]!, 0);
        const found = got[(h * queries + i) * size + d]!;
        if (Number.isNaN(want)) expect(found).toBeNaN();
        else {
          const error = Math.abs(found - want);
          const allowed = spread * (c.half ? 1e-3 : 4e-6 + 1e-6 * spread * spread);
          expect(
            error <= allowed,
            `${JSON.stringify(c)} head ${h} query ${i} at ${d}: ${found}, not ${want}`,
          ).toBe(true);
        }
      }
    }
  }
  for (const p of [...at, maskAt]) engine.free(p);
  return got;
}

const cases = fc.record({
  heads: fc.integer({ min: 1, max: 3 }),
  queries: fc.oneof(fc.constantFrom(1, 2, 8), fc.integer({ min: 1, max: 80 })),
  keys: fc.oneof(fc.constantFrom(1, 2, 6), fc.integer({ min: 1, max: 210 })),
  size: fc.oneof(fc.constantFrom(1, 4, 6, 40), fc.integer({ min: 1, max: 90 })),
  mask: fc.constantFrom('none' as const, 'causal' as const, 'additive' as const),
  half: fc.boolean(),
  across: fc.boolean(),
});

test('attention of any size, mask, dtype and stride agrees with the definition', () => {
  fc.assert(
    fc.property(cases, fc.nat(1), fc.constantFrom(1, 3), (c, which, spread) => {
      check(engines[which]!, c, spread);
    }),
    { numRuns: 120 },
  );
});

test('many queries and wide heads: several blocks of both', () => {
  const base = { heads: 1, mask: 'causal', half: false, across: false } as const;
  check(engines[0]!, { ...base, queries: 300, keys: 300, size: 40 }, 1);
  check(engines[1]!, { ...base, queries: 70, keys: 130, size: 512 }, 1);
});

test('results do not depend on the number of threads', async () => {
  const [one, three] = [await Engine.create({ threads: 1 }), await Engine.create({ threads: 3 })];
  const c: Case = { heads: 5, queries: 200, keys: 150, size: 40, mask: 'causal', half: false, across: false };
  expect(check(one, c, 1)).toEqual(check(three, c, 1));
  one.dispose();
  three.dispose();
});

test('a row without a visible key, and one with NaN, give NaN; the others are not touched by it', () => {
  const engine = engines[0]!;
  const [x, m, y] = [engine.alloc(4 * 3 * 4), engine.alloc(4 * 9), engine.alloc(4 * 3 * 4)];
  new Float32Array(engine.memory.buffer, x, 12).fill(1);
  new Float32Array(engine.memory.buffer, m, 9).set([0, 0, 0, -Infinity, -Infinity, -Infinity, NaN, 0, 0]);
  const spec = { queries: 3, keys: 3, size: 4, scale: 1, rows: { q: 4, k: 4, v: 4, out: 4 } } as const;
  prepareAttention(engine, { ...spec, mask: { row: 3, column: 1 }, batches: [[0, 0, 0, 0, 0]] }).run(
    x,
    x,
    x,
    m,
    y,
  );
  expect([...new Float32Array(engine.memory.buffer, y, 12)]).toEqual([
    1,
    1,
    1,
    1,
    NaN,
    NaN,
    NaN,
    NaN,
    NaN,
    NaN,
    NaN,
    NaN,
  ]);
  for (const p of [x, m, y]) engine.free(p);
});

test('keys hidden for a whole block do not spoil those that follow', () => {
  const engine = engines[0]!;
  const [keys, hidden] = [200, 150];
  const [q, k, v, m, y] = [4, 4 * keys, 4 * keys, keys, 4].map((n) => engine.alloc(4 * n)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const floats = (at: number, n: number): Float32Array => new Float32Array(engine.memory.buffer, at, n);
  floats(q, 4).fill(1);
  floats(k, 4 * keys).fill(1);
  floats(v, 4 * keys).forEach((_, i, x) => (x[i] = i < 4 * hidden ? 100 : 2));
  floats(m, keys).forEach((_, i, x) => (x[i] = i < hidden ? -Infinity : 0));
  const spec = { queries: 1, keys, size: 4, scale: 1, rows: { q: 4, k: 4, v: 4, out: 4 } } as const;
  const mask = { row: keys, column: 1 };
  prepareAttention(engine, { ...spec, mask, batches: [[0, 0, 0, 0, 0]] }).run(q, k, v, m, y);
  expect([...floats(y, 4)]).toEqual([2, 2, 2, 2]);
  for (const p of [q, k, v, m, y]) engine.free(p);
});
