import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode, dtypeNames, encode, promote, roundTo } from './dtype.ts';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';

test('every float16 survives a round trip', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = float16ToFloat32(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(float16ToFloat32(float32ToFloat16(value)))).toBe(true);
    else expect(float32ToFloat16(value)).toBe(bits);
  }
});

/** The nearest of all float16 values, ties to even bits: the definition. */
const halves = Array.from({ length: 0x7c00 }, (_, bits) => float16ToFloat32(bits));
function nearestHalf(x: number): number {
  let low = 0;
  let high = halves.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (halves[mid]! <= x) low = mid;
    else high = mid - 1;
  }
  const above = low + 1 < halves.length ? halves[low + 1]! : 65536;
  const [down, up] = [x - halves[low]!, above - x];
  const bits = down < up || (down === up && low % 2 === 0) ? low : low + 1;
  return bits;
}

test('numbers round to the nearest float16, ties to even, overflow to infinity', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.double({ min: 0, max: 70000, noNaN: true }), fc.double({ min: 0, max: 1e-4, noNaN: true })),
      (x) => {
        expect(float32ToFloat16(x)).toBe(nearestHalf(x));
        expect(float32ToFloat16(-x) & 0x7fff).toBe(nearestHalf(x));
      },
    ),
    { numRuns: 5000 },
  );
  expect(float16ToFloat32(float32ToFloat16(1e9))).toBe(Infinity);
  expect(Number.isNaN(float16ToFloat32(float32ToFloat16(NaN)))).toBe(true);
});

test('bfloat16 keeps the upper half of a float32, ties to even', () => {
  expect(bfloat16ToFloat32(float32ToBfloat16(1 + 2 ** -8))).toBe(1);
  expect(bfloat16ToFloat32(float32ToBfloat16(1 + 3 * 2 ** -8))).toBe(1 + 2 ** -6);
  expect(bfloat16ToFloat32(float32ToBfloat16(-3.4e38))).toBe(-Infinity);
});

test('encode and decode are inverse on representable values', () => {
  fc.assert(
    fc.property(fc.constantFrom(...dtypeNames), fc.array(fc.integer({ min: 0, max: 1 })), (dtype, values) => {
      expect([...decode(encode(values, dtype), dtype)]).toEqual(values);
    }),
  );
  expect(roundTo(300, 'uint8')).toBe(255);
  expect(roundTo(-2.7, 'int32')).toBe(-2);
});

test('promotion is a lattice: commutative, associative but for half types meeting, bounded', () => {
  for (const a of dtypeNames) {
    expect(promote(a, a)).toBe(a);
    for (const b of dtypeNames) expect(promote(a, b)).toBe(promote(b, a));
  }
  expect(promote('float16', 'bfloat16')).toBe('float32');
  expect(promote('int32', 'float16')).toBe('float16');
});
