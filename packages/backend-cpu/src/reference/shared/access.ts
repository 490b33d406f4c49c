// Element access for the reference kernels: numbers in and out of bytes, by dtype and strides. Slow on purpose:
// these kernels are the definition that every fast path is compared with.

import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from '@darkroom/core/backend';
import type { DType } from '@darkroom/core';
import type { ArgSpec } from '@darkroom/core/backend';

/** One argument of a reference kernel: `get` and `set` take element indices counted from its first element. */
export interface View {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  get(element: number): number;
  /** Rounds to the dtype once (nearest even; integers truncate and saturate). */
  set(element: number, value: number): void;
}

/** `offset` in bytes; memory is read afresh at each run, since WebAssembly memory moves when it grows. */
export function viewOf(spec: ArgSpec, memory: ArrayBufferLike, offset: number): View {
  const { dtype, layout } = spec;
  return { dtype, shape: layout.shape, strides: layout.strides, ...accessors(dtype, memory, offset) };
}

function accessors(dtype: DType, memory: ArrayBufferLike, offset: number): Pick<View, 'get' | 'set'> {
  switch (dtype) {
    case 'float32': {
      const a = new Float32Array(memory, offset);
      return { get: (i) => a[i]!, set: (i, v) => void (a[i] = v) };
    }
    case 'float16': {
      const a = new Uint16Array(memory, offset);
      return { get: (i) => float16ToFloat32(a[i]!), set: (i, v) => void (a[i] = float32ToFloat16(v)) };
    }
    case 'bfloat16': {
      const a = new Uint16Array(memory, offset);
      return { get: (i) => bfloat16ToFloat32(a[i]!), set: (i, v) => void (a[i] = float32ToBfloat16(v)) };
    }
    case 'int32': {
      const a = new Int32Array(memory, offset);
      return {
        get: (i) => a[i]!,
        set: (i, v) => void (a[i] = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(v)))),
      };
    }
    case 'uint8': {
      const a = new Uint8Array(memory, offset);
      return { get: (i) => a[i]!, set: (i, v) => void (a[i] = Math.max(0, Math.min(255, Math.trunc(v)))) };
    }
    case 'bool': {
      const a = new Uint8Array(memory, offset);
      return { get: (i) => a[i]!, set: (i, v) => void (a[i] = v ? 1 : 0) };
    }
  }
}

/** Calls `visit` with every coordinate of `shape` in row-major order; the array is reused. */
export function forEachIndex(shape: readonly number[], visit: (index: readonly number[]) => void): void {
  if (shape.some((d) => d === 0)) return;
  const index = shape.map(() => 0);
  for (;;) {
    visit(index);
    let d = shape.length - 1;
    while (d >= 0 && ++index[d]! === shape[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

/** Element position of a coordinate; trailing axes that `index` leaves out count as 0. */
export function at(strides: readonly number[], index: readonly number[]): number {
  let i = 0;
  for (let d = 0; d < index.length; d++) i += strides[d]! * index[d]!;
  return i;
}

/** Strides of `view` as seen from `shape` (broadcast dimensions get 0). */
export function broadcastStrides(view: View, shape: readonly number[]): number[] {
  const lead = shape.length - view.shape.length;
  return shape.map((_, i) => (i < lead || view.shape[i - lead] === 1 ? 0 : view.strides[i - lead]!));
}
