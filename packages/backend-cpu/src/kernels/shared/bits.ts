// Elements as raw bits: for kernels that only move them.

import type { DType } from '@darkroom/core';
import { sizeOf } from '../../simd/elements.ts';
import type { Engine } from '../../simd/engine.ts';

type Bits = Uint32Array | Uint16Array | Uint8Array;

/** Elements of `dtype` from byte `at` on, as unsigned integers of their size. */
export function bits(engine: Engine, dtype: DType, at: number): Bits {
  const { buffer } = engine.memory;
  const size = sizeOf[dtype];
  const words = (buffer.byteLength - at) / size;
  if (size === 4) return new Uint32Array(buffer, at, Math.floor(words));
  return size === 2 ? new Uint16Array(buffer, at, Math.floor(words)) : new Uint8Array(buffer, at);
}
