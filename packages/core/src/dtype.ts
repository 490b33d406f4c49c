// The dtype table: names (those of safetensors, NumPy and Hugging Face), sizes, host arrays, promotion.
// Not here: tf32, which is a compute mode of float32 matmul and conv2d (see device.ts), not a storage dtype.

import { DTypeError } from './errors.ts';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';

/** Element types. */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'uint8' | 'bool';
/** Element types that products and norms take. */
export type FloatDType = 'float32' | 'float16' | 'bfloat16';

/** Host arrays that carry element values (half types are widened to float32). */
export type DataArray = Float32Array | Int32Array | Uint8Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly category: 'bool' | 'int' | 'float';
  readonly short: string;
}

/** Bytes of an element and the short name of each dtype. */
export const dtypes: Readonly<Record<DType, DTypeInfo>> = {
  float32: { bytes: 4, category: 'float', short: 'f32' },
  float16: { bytes: 2, category: 'float', short: 'f16' },
  bfloat16: { bytes: 2, category: 'float', short: 'bf16' },
  int32: { bytes: 4, category: 'int', short: 'i32' },
  uint8: { bytes: 1, category: 'int', short: 'u8' },
  bool: { bytes: 1, category: 'bool', short: 'bool' },
};

/** All dtypes. */
export const dtypeNames: readonly DType[] = Object.keys(dtypes) as DType[];

/** True if a value is the name of a dtype. */
export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(dtypes, name);
}

/** True for float32, float16 and bfloat16. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtypes[dtype].category === 'float';
}

/** Throws a DTypeError that names op, argument and both dtypes unless `dtype` is a floating one. */
export function requireFloat(op: string, argument: string, dtype: DType): void {
  if (!isFloat(dtype))
    throw new DTypeError(`${op}: ${argument} must be float32, float16 or bfloat16, got ${dtype}`);
}

const lattice: readonly DType[] = ['bool', 'uint8', 'int32', 'bfloat16', 'float16', 'float32'];

/**
 * The dtype two tensors are computed in: JAX's lattice restricted to our types. A plain JavaScript number is
 * weakly typed and never takes part. float16 with bfloat16 gives float32, since neither holds the other.
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  if ((a === 'float16' && b === 'bfloat16') || (a === 'bfloat16' && b === 'float16')) return 'float32';
  return lattice.indexOf(a) > lattice.indexOf(b) ? a : b;
}

/** Element values → bytes of `dtype`, rounded to nearest even; integers saturate, NaN becomes 0 in them. */
export function encode(values: ArrayLike<number>, dtype: DType): Uint8Array {
  const n = values.length;
  const bytes = new Uint8Array(n * dtypes[dtype].bytes);
  const { buffer } = bytes;
  switch (dtype) {
    case 'float32':
      new Float32Array(buffer).set(values);
      break;
    case 'float16': {
      const out = new Uint16Array(buffer);
      for (let i = 0; i < n; i++) out[i] = float32ToFloat16(values[i]!);
      break;
    }
    case 'bfloat16': {
      const out = new Uint16Array(buffer);
      for (let i = 0; i < n; i++) out[i] = float32ToBfloat16(values[i]!);
      break;
    }
    case 'int32': {
      const out = new Int32Array(buffer);
      for (let i = 0; i < n; i++)
        out[i] = Math.max(-2147483648, Math.min(2147483647, Math.trunc(values[i]!)));
      break;
    }
    case 'uint8':
      for (let i = 0; i < n; i++) bytes[i] = Math.max(0, Math.min(255, Math.trunc(values[i]!)));
      break;
    case 'bool':
      for (let i = 0; i < n; i++) bytes[i] = values[i] ? 1 : 0;
      break;
  }
  return bytes;
}

/** Bytes of `dtype` (any alignment, may be shared memory) → element values in a fresh host array. */
export function decode(source: Uint8Array, dtype: DType): DataArray {
  const bytes = new Uint8Array(source); // a copy: aligned, and never a view of shared memory
  const { buffer } = bytes;
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer);
    case 'float16':
      return Float32Array.from(new Uint16Array(buffer), float16ToFloat32);
    case 'bfloat16':
      return Float32Array.from(new Uint16Array(buffer), bfloat16ToFloat32);
    case 'int32':
      return new Int32Array(buffer);
    case 'uint8':
    case 'bool':
      return bytes;
  }
}

/** `value` rounded as a store in `dtype` rounds it. */
export function roundTo(value: number, dtype: DType): number {
  switch (dtype) {
    case 'float32':
      return Math.fround(value);
    case 'float16':
      return float16ToFloat32(float32ToFloat16(value));
    case 'bfloat16':
      return bfloat16ToFloat32(float32ToBfloat16(value));
    default:
      return decode(encode([value], dtype), dtype)[0]!;
  }
}
