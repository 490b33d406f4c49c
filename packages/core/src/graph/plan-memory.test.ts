import fc from 'fast-check';
import { expect, test } from 'vitest';
import { alignment, maxLiveBytes, planMemory } from './plan-memory.ts';
import type { Lifetime } from './plan-memory.ts';

const lifetimes = fc.array(
  fc
    .record({ bytes: fc.integer({ min: 1, max: 5000 }), first: fc.nat(40), length: fc.nat(12) })
    .map(({ bytes, first, length }): Lifetime => ({ bytes, first, last: first + length })),
  { maxLength: 60 },
);
const up = (n: number): number => Math.ceil(n / alignment) * alignment;

test.each([true, false])('values that live together lie apart (suballocate %s)', (suballocate) => {
  fc.assert(
    fc.property(lifetimes, (values) => {
      const { buffers, places } = planMemory(values, { suballocate });
      for (const [i, a] of values.entries()) {
        const p = places[i]!;
        expect(p.offset % alignment).toBe(0);
        expect(p.offset + a.bytes).toBeLessThanOrEqual(buffers[p.buffer]!);
        for (const [j, b] of values.entries()) {
          const q = places[j]!;
          if (i <= j || p.buffer !== q.buffer || a.first > b.last || b.first > a.last) continue;
          // Values that live at once may share a buffer only with suballocation, and then not overlap.
          expect(suballocate && (p.offset + a.bytes <= q.offset || q.offset + b.bytes <= p.offset)).toBe(
            true,
          );
        }
      }
      const total = buffers.reduce((n, b) => n + b, 0);
      expect(total).toBeLessThanOrEqual(values.reduce((n, v) => n + up(v.bytes), 0));
      expect(total).toBeGreaterThanOrEqual(maxLiveBytes(values));
    }),
    { numRuns: 500 },
  );
});

test('a chain needs its two largest neighbours', () => {
  const chain = [1024, 512, 2048, 256].map((bytes, i) => ({ bytes, first: i, last: i + 1 }));
  expect(planMemory(chain, { suballocate: true }).buffers).toEqual([2048 + 512]);
  expect(planMemory(chain, { suballocate: false }).buffers).toEqual([2048, 512]);
  expect(maxLiveBytes(chain)).toBe(2048 + 512);
});

test('no values need no memory', () => {
  expect(planMemory([], { suballocate: true })).toEqual({ buffers: [], places: [] });
});
