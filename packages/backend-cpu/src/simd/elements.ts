// Loads and stores four elements of any dtype as floats: together where they are adjacent, one by one otherwise.

import type { DType } from '@darkroom/core';
import type { FunctionBuilder, Local } from './emitter.ts';
import { fromHalf, toBfloat, toHalf } from './vector-math.ts';

type F = FunctionBuilder;
export const sizeOf: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int32: 4,
  uint8: 1,
  bool: 1,
};

/** Raw bits in 32-bit lanes (on the stack) → floats. */
function widen(f: F, dtype: DType): void {
  switch (dtype) {
    case 'float32':
      return;
    case 'float16': {
      const bits = f.local('v128');
      f.set(bits);
      fromHalf(f, bits);
      return;
    }
    case 'bfloat16':
      f.i32(16).op('i32x4.shl');
      return;
    case 'int32':
    case 'uint8':
    case 'bool':
      f.op('f32x4.convert_i32x4_s');
  }
}

const scalarLoad = {
  float32: 'i32.load',
  int32: 'i32.load',
  float16: 'i32.load16_u',
  bfloat16: 'i32.load16_u',
  uint8: 'i32.load8_u',
  bool: 'i32.load8_u',
} as const;

/** Four neighbours from the address in `at` (+ offset). */
export function loadVector(f: F, dtype: DType, at: Local, offset = 0): void {
  if (sizeOf[dtype] === 4) f.get(at).mem('v128.load', offset);
  else if (sizeOf[dtype] === 2) f.get(at).mem('i32x4.load16x4_u', offset);
  else {
    f.i32x4(0);
    for (let l = 0; l < 4; l++)
      f.get(at)
        .mem('i32.load8_u', offset + l)
        .lane('i32x4.replace_lane', l);
  }
  widen(f, dtype);
}

/** Four elements `stride` bytes (a local) apart. */
export function loadStrided(f: F, dtype: DType, at: Local, stride: Local): void {
  const p = f.local('i32');
  f.get(at).set(p);
  f.i32x4(0);
  for (let l = 0; l < 4; l++) {
    f.get(p).mem(scalarLoad[dtype]).lane('i32x4.replace_lane', l);
    if (l < 3) f.bump(p, stride);
  }
  widen(f, dtype);
}

/** One element in lane 0 (and in the others, for stride 0). */
export function loadSplat(f: F, dtype: DType, at: Local): void {
  if (dtype === 'float32') f.get(at).mem('v128.load32_splat');
  else {
    f.get(at).mem(scalarLoad[dtype]).op('i32x4.splat');
    widen(f, dtype);
  }
}

/** Floats in `value` → raw bits of the dtype in 32-bit lanes (on the stack). */
function narrow(f: F, dtype: DType, value: Local): void {
  switch (dtype) {
    case 'float32':
      f.get(value);
      return;
    case 'float16':
      toHalf(f, value);
      return;
    case 'bfloat16':
      toBfloat(f, value);
      return;
    case 'int32':
      f.get(value).op('i32x4.trunc_sat_f32x4_s');
      return;
    case 'uint8':
      f.get(value).op('i32x4.trunc_sat_f32x4_s').i32x4(0).op('i32x4.max_s').i32x4(255).op('i32x4.min_s');
      return;
    case 'bool':
      f.get(value).f32x4(0).op('f32x4.ne').i32x4(1).op('v128.and');
  }
}

/** Four neighbours to the address in `at`. */
export function storeVector(f: F, dtype: DType, at: Local, value: Local): void {
  const bits = f.local('v128');
  narrow(f, dtype, value);
  f.set(bits);
  if (sizeOf[dtype] === 4) f.get(at).get(bits).mem('v128.store');
  else if (sizeOf[dtype] === 2)
    f.get(at).get(bits).get(bits).op('i16x8.narrow_i32x4_u').laneMem('v128.store64_lane', 0);
  else for (let l = 0; l < 4; l++) f.get(at).get(bits).lane('i32x4.extract_lane', l).mem('i32.store8', l);
}

/** Lane 0 to the address in `at`. */
export function storeOne(f: F, dtype: DType, at: Local, value: Local): void {
  const bits = f.local('v128');
  narrow(f, dtype, value);
  f.set(bits);
  f.get(at).get(bits).lane('i32x4.extract_lane', 0);
  f.mem(sizeOf[dtype] === 4 ? 'i32.store' : sizeOf[dtype] === 2 ? 'i32.store16' : 'i32.store8');
}
