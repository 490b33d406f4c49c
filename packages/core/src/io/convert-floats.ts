// Arrays of floats from one format to another in host memory, by integer operations on their bits: weights that go to host
// memory are converted without a device. The definition of each element is in float16.ts; a test compares all bits.

import { dtypes } from '../dtype.ts';
import type { FloatDType } from '../dtype.ts';
import { float16ToFloat32, float32ToBfloat16 } from '../float16.ts';

/** Elements of `from` (any alignment) → elements of `to` in memory of their own, rounded to nearest even. */
export function convertFloats(source: Uint8Array, from: FloatDType, to: FloatDType): Uint8Array {
  const { buffer } = new Uint8Array(source); // a copy: aligned, and only these bytes
  if (from === to) return new Uint8Array(buffer);
  const wide = from === 'float32' ? new Uint32Array(buffer) : widened(new Uint16Array(buffer), from);
  if (to === 'float32') return new Uint8Array(wide.buffer);
  const bytes = new Uint8Array(wide.length * dtypes[to].bytes);
  const out = new Uint16Array(bytes.buffer);
  const narrow = to === 'float16' ? toFloat16Bits : toBfloat16Bits;
  for (let i = 0; i < out.length; i++) out[i] = narrow(wide[i]!);
  return bytes;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The float32 bits of each element. */
function widened(values: Uint16Array, from: FloatDType): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(values.length);
  for (let i = 0; i < out.length; i++)
    out[i] = from === 'bfloat16' ? values[i]! << 16 : fromFloat16Bits(values[i]!);
  return out;
}

function fromFloat16Bits(x: number): number {
  const magnitude = x & 0x7fff;
  if (magnitude >= 0x0400 && magnitude < 0x7c00)
    return ((x & 0x8000) << 16) | ((magnitude << 13) + 0x38000000);
  float[0] = float16ToFloat32(x); // zero, subnormal, infinity, NaN
  return bits[0]!;
}

function toFloat16Bits(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // from 65520 on: infinity
  if (magnitude >= 0x38800000)
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  if (magnitude <= 0x33000000) return sign; // up to 2^-25, half of the least subnormal: zero
  // Subnormal: the mantissa in units of 2^-24.
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const whole = mantissa >>> shift;
  return sign | (whole + (rest > half || (rest === half && whole % 2 === 1) ? 1 : 0));
}

function toBfloat16Bits(x: number): number {
  if ((x & 0x7fffffff) <= 0x7f800000) return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff;
  bits[0] = x;
  return float32ToBfloat16(float[0]!); // NaN
}
