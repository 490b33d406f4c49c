import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { roundingOfSum } from '@darkroom/core/testing';
import { Engine } from './engine.ts';
import { prepareProduct, tiles } from './product.ts';

const engines = await Promise.all([
  Engine.create({ threads: 1 }),
  Engine.create({ threads: 3, relaxed: false }),
]);
afterAll(() => engines.forEach((e) => e.dispose()));

function floats(engine: Engine, at: number, n: number): Float32Array {
  return new Float32Array(engine.memory.buffer, at, n);
}

test('products of any size, tile and stride agree with the sum', () => {
  const size = fc.oneof(fc.constantFrom(0, 1, 2), fc.integer({ min: 1, max: 50 }));
  fc.assert(
    fc.property(
      size,
      size,
      fc.oneof(size, fc.integer({ min: 300, max: 800 })),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      fc.nat(1),
      fc.nat(1),
      (m, n, k, ta, tb, tc, which, tile) => {
        const engine = engines[which]!;
        const [a, b, c] = [engine.alloc(4 * m * k), engine.alloc(4 * k * n), engine.alloc(4 * m * n)];
        floats(engine, a, m * k).forEach((_, i, x) => (x[i] = Math.sin(i * 1.7)));
        floats(engine, b, k * n).forEach((_, i, x) => (x[i] = Math.cos(i * 0.9)));
        floats(engine, c, m * n).fill(NaN);
        const [aRow, aK] = ta ? [1, m] : [k, 1];
        const [bK, bColumn] = tb ? [1, k] : [n, 1];
        const [cRow, cColumn] = tc ? [1, m] : [n, 1];
        const spec = {
        m, n, k, batches: [[0, 0, 0]] as const,
        a: { dtype: 'float32', row: aRow, k: aK }, b: { dtype: 'float32', k: bK, column: bColumn }, c: { row: cRow, column: cColumn },
      } as const; // prettier-ignore
        prepareProduct(engine, spec, tiles[tile]!).run(a, b, c);
        const [fa, fb, got] = [floats(engine, a, m * k), floats(engine, b, k * n), floats(engine, c, m * n)];
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            let size = 0;
            for (let x = 0; x < k; x++) {
              const term = fa[i * aRow + x * aK]! * fb[x * bK + j * bColumn]!;
              sum += term;
              size += Math.abs(term);
            }
            const error = Math.abs(got[i * cRow + j * cColumn]! - sum);
            expect(error <= roundingOfSum(k, size), `${m}x${n}x${k} at ${i},${j}: error ${error}`).toBe(true);
          }
        }
        for (const p of [a, b, c]) engine.free(p);
      },
    ),
    { numRuns: 150 },
  );
});
