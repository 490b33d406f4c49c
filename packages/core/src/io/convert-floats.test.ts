// Conversions of arrays of floats against the definition of one element, on every half number and on float32 bits.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode, encode } from '../dtype.ts';
import type { FloatDType } from '../dtype.ts';
import { convertFloats } from './convert-floats.ts';

/** By the definition, element by element. */
const defined = (source: Uint8Array, from: FloatDType, to: FloatDType): Uint8Array =>
  encode(decode(source, from), to);

const halves: readonly FloatDType[] = ['float16', 'bfloat16'];
const all: readonly FloatDType[] = ['float32', ...halves];

test.each(halves.flatMap((from) => all.filter((to) => to !== from).map((to) => [from, to] as const)))(
  'every %s → %s',
  (from, to) => {
    const source = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
    const isNaN = decode(source, from).map((v) => (Number.isNaN(v) ? 1 : 0));
    const [got, want] = [convertFloats(source, from, to), defined(source, from, to)];
    const size = want.length / 65536;
    for (let i = 0; i < 65536; i++) {
      const at = [i * size, (i + 1) * size] as const;
      if (isNaN[i]) expect(decode(got.slice(...at), to)[0]).toBeNaN(); // which NaN is free
      else if (got.subarray(...at).some((byte, k) => byte !== want[at[0] + k])) expect([i, ...got.subarray(...at)]).toEqual([i, ...want.subarray(...at)]);
    }
  },
); // prettier-ignore

/** Bits near where rounding, subnormals and infinity begin, and any others. */
const edges = [
  0, 1, 0x33000000, 0x33800000, 0x387fe000, 0x38800000, 0x477fe000, 0x477ff000, 0x7f7fffff, 0x7f800000,
];
const float32Bits = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.tuple(fc.constantFrom(...edges), fc.integer({ min: -3, max: 3 }), fc.constantFrom(0, 0x80000000)).map(
    ([edge, step, sign]) => (Math.min(0x7f800000, Math.max(0, edge + step)) | sign) >>> 0,
  ),
  fc.tuple(fc.integer({ min: 0x32000000, max: 0x48000000 }), fc.constantFrom(0xffff0000, 0xfffff000, 0xffffe000)).map(
    ([x, mask]) => (x & mask) >>> 0, // ties
  ),
); // prettier-ignore

test.each(halves)('any float32 → %s', (to) => {
  fc.assert(
    fc.property(fc.array(float32Bits, { minLength: 64, maxLength: 64 }), (list) => {
      const source = new Uint8Array(Uint32Array.from(list).buffer);
      expect(convertFloats(source, 'float32', to)).toEqual(defined(source, 'float32', to));
    }),
    { numRuns: 2000 },
  );
});

test('bytes of any alignment; the same dtype is a copy', () => {
  const bytes = new Uint8Array([9, 0, 0, 0x80, 0x3f, 9]);
  expect([...convertFloats(bytes.subarray(1, 5), 'float32', 'bfloat16')]).toEqual([0x80, 0x3f]);
  const same = convertFloats(bytes.subarray(1, 5), 'float32', 'float32');
  expect([...same]).toEqual([0, 0, 0x80, 0x3f]);
  expect(same.buffer).not.toBe(bytes.buffer);
});
