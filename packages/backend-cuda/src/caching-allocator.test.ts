// The caching allocator under random requests, against a list of the blocks that are allocated.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CachingAllocator } from './node/caching-allocator.ts';

class Driver {
  readonly allocated = new Map<number, number>();
  readonly limit: number;
  #next = 1 << 20;
  constructor(limit = Infinity) {
    this.limit = limit;
  }
  get bytes(): number {
    return [...this.allocated.values()].reduce((a, b) => a + b, 0);
  }
  readonly take = (bytes: number): number => {
    if (this.bytes + bytes > this.limit)
      throw Object.assign(new Error('out of memory'), { library: 'libcuda', code: 2 });
    const address = this.#next;
    this.#next += bytes + (1 << 20);
    this.allocated.set(address, bytes);
    return address;
  };
  readonly give = (address: number): void => {
    if (!this.allocated.delete(address)) throw new Error('given twice');
  };
}

const MiB = 1 << 20;

test('blocks are aligned, inside regions, apart from each other; all comes back', () => {
  const size = fc.oneof(
    fc.integer({ min: 0, max: 5000 }),
    fc.integer({ min: 0, max: 3 * MiB }),
    fc.integer({ min: 0, max: 60 * MiB }),
  );
  const action = fc.oneof(size.map((bytes) => ({ bytes })), fc.nat().map((free) => ({ free })), fc.constant({ trim: 1 })); // prettier-ignore
  fc.assert(
    fc.property(fc.array(action, { maxLength: 150 }), fc.boolean(), (actions, ordered) => {
      const driver = new Driver();
      const allocator = new CachingAllocator(driver.take, driver.give, ordered);
      const live = new Map<number, number>();
      for (const a of actions) {
        if ('bytes' in a) {
          const at = allocator.alloc(a.bytes);
          expect(at % 512).toBe(0);
          const end = at + Math.max(1, a.bytes);
          expect([...driver.allocated].some(([s, n]) => at >= s && end <= s + n)).toBe(true);
          for (const [other, bytes] of live)
            expect(end <= other || at >= other + Math.max(1, bytes)).toBe(true);
          live.set(at, a.bytes);
        } else if ('free' in a && live.size > 0) {
          const at = [...live.keys()][a.free % live.size]!;
          live.delete(at);
          allocator.free(at);
        } else if ('trim' in a) allocator.trim();
        expect(allocator.reserved).toBe(driver.bytes);
      }
      for (const at of live.keys()) allocator.free(at);
      allocator.trim();
      expect(driver.allocated.size).toBe(0);
      expect(allocator.reserved).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test('neighbours join, so that what was cut serves large requests again', () => {
  const driver = new Driver();
  const allocator = new CachingAllocator(driver.take, driver.give);
  const parts = Array.from({ length: 8 }, () => allocator.alloc(4 * MiB));
  expect(driver.bytes).toBe(32 * MiB);
  for (const i of [0, 2, 4, 6, 1, 3, 5, 7]) allocator.free(parts[i]!);
  const whole = allocator.alloc(32 * MiB);
  expect(driver.bytes).toBe(32 * MiB);
  expect(() => allocator.free(whole + 512)).toThrow('an allocated block');
  allocator.free(whole);
});

test('an ordered driver has huge blocks back at once, and unused regions before it must hold more than ever', () => {
  const driver = new Driver();
  const allocator = new CachingAllocator(driver.take, driver.give, true);
  const part = allocator.alloc(4 * MiB);
  const wide = allocator.alloc(40 * MiB);
  expect(driver.bytes).toBe(72 * MiB);
  allocator.free(wide);
  allocator.free(part);
  expect(driver.bytes).toBe(32 * MiB); // kept for the next small requests
  allocator.free(allocator.alloc(40 * MiB)); // no more than ever: nothing goes
  expect(driver.bytes).toBe(32 * MiB);
  const wider = allocator.alloc(50 * MiB);
  expect(driver.bytes).toBe(50 * MiB);
  allocator.free(wider);
  expect(driver.bytes).toBe(0);
});

test('when the driver has no more, unused regions go back first', () => {
  const driver = new Driver(100 * MiB);
  const allocator = new CachingAllocator(driver.take, driver.give);
  allocator.free(allocator.alloc(60 * MiB));
  const at = allocator.alloc(80 * MiB);
  expect(driver.bytes).toBe(80 * MiB);
  expect(() => allocator.alloc(40 * MiB)).toThrow('out of memory');
  allocator.free(at);
});

test('weights of a UNet one after the other, two at a time, reserve little more than the two largest', () => {
  const driver = new Driver();
  const allocator = new CachingAllocator(driver.take, driver.give);
  let held: number[] = [];
  // Sizes of SD 1.5's leaves in float16, in an order that mixes them.
  const leaves = [59, 29.5, 3.3, 14.7, 6.6, 26.2, 1.6, 7.4, 13.1, 0.4, 29.5, 59, 44.2, 22.1, 36.9, 9.8];
  for (let i = 0; i < 400; i++) {
    const bytes = Math.round(leaves[(i * 7) % leaves.length]! * MiB);
    held.push(allocator.alloc(bytes));
    if (held.length > 2) allocator.free(held.shift()!);
  }
  expect(driver.bytes).toBeLessThan(1.6 * (59 + 59 + 44.2) * MiB);
  held = [];
});
