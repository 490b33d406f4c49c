// Seeds as torch takes them: any integer of 64 bits, signed or not.

import { ArgumentError, describe } from '@darkroom/core';

const limit = 1n << 64n;

/** `seed` as an unsigned 64-bit number. Throws for fractions, unsafe numbers and what does not fit. */
export function seedBits(seed: number | bigint): bigint {
  if (typeof seed !== 'bigint' && !Number.isSafeInteger(seed)) {
    throw new ArgumentError(
      `seed: must be an integer of at most 2^53 (use a bigint beyond), got ${describe(seed)}`,
    );
  }
  const bits = BigInt(seed);
  if (bits < -(limit / 2n) || bits >= limit) throw new ArgumentError(`seed: must fit 64 bits, got ${seed}`);
  return bits & (limit - 1n);
}

/** Throws unless `count` is a number of elements. */
export function checkCount(what: string, count: number): void {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new ArgumentError(`${what}: count must be an integer >= 0, got ${count}`);
  }
}
