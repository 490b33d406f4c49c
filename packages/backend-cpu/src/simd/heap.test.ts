import fc from 'fast-check';
import { expect, test } from 'vitest';
import { alignment, Heap } from './heap.ts';

test('live blocks are aligned, never overlap, and freed memory is used again', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(3000)), { maxLength: 200 }), (steps) => {
      let end = 0;
      const heap = new Heap(100, 2 ** 20, (to) => ((end = Math.max(end, to)), true));
      const live = new Map<number, number>();
      for (const [release, n] of steps) {
        if (release && live.size > 0) {
          const start = [...live.keys()][n % live.size]!;
          heap.free(start);
          live.delete(start);
          continue;
        }
        const start = heap.alloc(n)!;
        expect(start % alignment).toBe(0);
        for (const [s, size] of live) expect(start + n <= s || s + size <= start).toBe(true);
        live.set(start, n);
      }
      for (const start of live.keys()) heap.free(start);
      const before = end;
      if (before > 0) {
        const whole = heap.alloc(before - 128)!;
        expect(whole).toBe(128);
        expect(end).toBe(before);
      }
    }),
    { numRuns: 500 },
  );
});

test('no room is undefined, a double free an error', () => {
  const heap = new Heap(0, 1024, () => true);
  const a = heap.alloc(600)!;
  expect(heap.alloc(600)).toBeUndefined();
  heap.free(a);
  expect(() => heap.free(a)).toThrow('not live');
  expect(heap.alloc(900)).toBe(64);
});
