// The allocator under random requests, on a backend that only counts.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Allocator } from './allocator.ts';
import type { Buffer } from './backend.ts';
import { nullBackend } from './backends/null.ts';

const round = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

test('accounting is exact, buffers are large enough and nobody else has them, caches stay bounded', () => {
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 40 << 20 }).map((bytes) => ({ bytes })) },
    { weight: 3, arbitrary: fc.nat().map((free) => ({ free })) },
    { weight: 1, arbitrary: fc.constant({ drop: true as const }) },
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const backend = nullBackend();
      const allocator = new Allocator(backend);
      const inUse = new Map<Buffer, number>();
      let [peak, peakReserved] = [0, 0];
      for (const a of actions) {
        if ('bytes' in a) {
          const buffer = allocator.alloc(a.bytes);
          expect(inUse.has(buffer)).toBe(false);
          expect(buffer.bytes).toBeGreaterThanOrEqual(round(a.bytes));
          expect(round(a.bytes)).toBeGreaterThanOrEqual(0.75 * buffer.bytes);
          inUse.set(buffer, round(a.bytes));
        } else if ('free' in a && inUse.size > 0) {
          const buffer = [...inUse.keys()][a.free % inUse.size]!;
          inUse.delete(buffer);
          allocator.free(buffer);
        } else if ('drop' in a) allocator.dropCache();
        const live = [...inUse.values()].reduce((x, y) => x + y, 0);
        const stats = allocator.stats;
        peak = Math.max(peak, live);
        peakReserved = Math.max(peakReserved, backend.allocated);
        expect(stats).toEqual({ live, cached: backend.allocated - live, peak, peakReserved });
        const slack = [...inUse].reduce((sum, [buffer, used]) => sum + buffer.bytes - used, 0);
        expect(stats.cached - slack).toBeLessThanOrEqual(Math.max(32 << 20, peak));
        if ('drop' in a) expect(stats.cached).toBe(slack);
      }
    }),
    { numRuns: 200 },
  );
});

test('the same work again takes nothing new from the backend', () => {
  const backend = nullBackend();
  const allocator = new Allocator(backend);
  const sizes = [5, 3, 40, 7, 40, 3].map((mib) => mib << 20);
  const work = (): void => {
    const buffers = sizes.map((bytes) => allocator.alloc(bytes));
    for (const buffer of buffers) allocator.free(buffer);
  };
  work();
  const before = backend.allocated;
  let calls = 0;
  const { alloc } = backend;
  backend.alloc = (bytes) => (calls++, alloc.call(backend, bytes));
  work();
  expect(calls).toBe(0);
  expect(backend.allocated).toBe(before);
});

test('the same work again gets the same buffers, in whatever order they came back', () => {
  const sizes = fc.array(fc.constantFrom(1, 2, 2, 3), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(sizes, fc.infiniteStream(fc.nat()), (mib, choices) => {
      const allocator = new Allocator(nullBackend());
      const work = (): Buffer[] => {
        const buffers = mib.map((size) => allocator.alloc(size << 20));
        const order = [...buffers];
        while (order.length > 0) {
          const [buffer] = order.splice(choices.next().value! % order.length, 1);
          allocator.free(buffer!);
        }
        return buffers;
      };
      work();
      const again = work();
      const third = work();
      for (const [i, buffer] of again.entries()) expect(third[i]).toBe(buffer);
    }),
  );
});
