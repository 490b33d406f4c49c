// Conversions between numbers and the bits of float16 (IEEE 754 binary16) and bfloat16, to nearest even.
// A double is rounded once, straight to the half format: rounding through float32 first would round twice.

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
const f64 = new Float64Array(1);
const u64 = new Uint32Array(f64.buffer); // little-endian, as every engine of WebAssembly and every GPU's host

/** The unit of a float16 by its exponent, from 2^-14 on: values are 1024 to 2047 units. */
const units = Float64Array.from({ length: 30 }, (_, i) => 2 ** (i - 24));
/** Of this many units and any number below, a double holds whole units only: adding it rounds, halves to even. */
const whole = 2 ** 52;

/** Value → float16 bits; overflow gives infinity, NaN stays NaN (quiet). */
export function float32ToFloat16(value: number): number {
  f64[0] = value;
  const high = u64[1]!;
  const sign = (high >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (!(magnitude < 65520)) return sign | (Number.isNaN(value) ? 0x7e00 : 0x7c00);
  const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, -14); // subnormals have the unit of the least normal ones
  const unit = units[exponent + 14]!;
  const rounded = (magnitude + unit * whole - unit * whole) / unit;
  // A normal value's 1024 units are its implicit bit; a carry out of the mantissa bumps the exponent.
  return sign | (((exponent + 14) << 10) + rounded);
}

/** float16 bits → value (exact). */
export function float16ToFloat32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * units[0]!;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1024 + mantissa) * units[exponent - 1]!;
}

/** Value → bfloat16 bits. */
export function float32ToBfloat16(value: number): number {
  f32[0] = value;
  const x = u32[0]!;
  if (Number.isNaN(value)) return ((x >>> 16) & 0x8000) | 0x7fc0;
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff;
}

/** bfloat16 bits → value (exact). */
export function bfloat16ToFloat32(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}
