// The WebAssembly instructions our kernels use, by name: bytes after which immediates follow (spec, appendix A.7;
// SIMD 128-bit proposal; relaxed SIMD proposal). Memory instructions carry their natural alignment.

const simd = (code: number): readonly number[] =>
  code < 128 ? [0xfd, code] : [0xfd, (code & 127) | 128, code >> 7];

/** Instructions without immediates. */
export const plain: Readonly<Record<Plain, readonly number[]>> = {
  'i32.eqz': [0x45], 'i32.eq': [0x46], 'i32.ne': [0x47], 'i32.lt_s': [0x48], 'i32.lt_u': [0x49], 'i32.gt_s': [0x4a],
  'i32.gt_u': [0x4b], 'i32.le_s': [0x4c], 'i32.le_u': [0x4d], 'i32.ge_s': [0x4e], 'i32.ge_u': [0x4f],
  'i32.add': [0x6a], 'i32.sub': [0x6b], 'i32.mul': [0x6c], 'i32.div_s': [0x6d], 'i32.div_u': [0x6e], 'i32.rem_s': [0x6f],
  'i32.rem_u': [0x70], 'i32.and': [0x71], 'i32.or': [0x72], 'i32.xor': [0x73], 'i32.shl': [0x74], 'i32.shr_s': [0x75],
  'i32.shr_u': [0x76], 'f32.eq': [0x5b], 'f32.lt': [0x5d], 'f32.gt': [0x5e], 'f32.ge': [0x60],
  'f32.neg': [0x8c], 'f32.sqrt': [0x91], 'f32.add': [0x92], 'f32.sub': [0x93],
  'f32.mul': [0x94], 'f32.div': [0x95], 'f32.min': [0x96], 'f32.max': [0x97], 'i32.trunc_sat_f32_s': [0xfc, 0],
  'f32.convert_i32_s': [0xb2], 'f32.convert_i32_u': [0xb3], 'i32.reinterpret_f32': [0xbc], 'f32.reinterpret_i32': [0xbe],
  drop: [0x1a], select: [0x1b], return: [0x0f],
  'i32x4.splat': simd(0x11), 'f32x4.splat': simd(0x13),
  'i32x4.eq': simd(0x37), 'i32x4.gt_s': simd(0x3b), 'i32x4.lt_s': simd(0x39),
  'f32x4.eq': simd(0x41), 'f32x4.ne': simd(0x42), 'f32x4.lt': simd(0x43), 'f32x4.gt': simd(0x44), 'f32x4.le': simd(0x45),
  'f32x4.ge': simd(0x46), 'v128.not': simd(0x4d), 'v128.and': simd(0x4e), 'v128.andnot': simd(0x4f), 'v128.or': simd(0x50),
  'v128.xor': simd(0x51), 'v128.bitselect': simd(0x52), 'v128.any_true': simd(0x53), 'f32x4.floor': simd(0x68),
  'f32x4.nearest': simd(0x6a), 'i16x8.narrow_i32x4_u': simd(0x86),
  'i32x4.extend_low_i16x8_u': simd(0xa9), 'i32x4.shl': simd(0xab), 'i32x4.shr_s': simd(0xac), 'i32x4.shr_u': simd(0xad),
  'i32x4.add': simd(0xae), 'i32x4.sub': simd(0xb1), 'i32x4.mul': simd(0xb5), 'i32x4.min_s': simd(0xb6), 'i32x4.max_s': simd(0xb8),
  'f32x4.abs': simd(0xe0), 'f32x4.neg': simd(0xe1), 'f32x4.sqrt': simd(0xe3), 'f32x4.add': simd(0xe4), 'f32x4.sub': simd(0xe5),
  'f32x4.mul': simd(0xe6), 'f32x4.div': simd(0xe7), 'f32x4.min': simd(0xe8), 'f32x4.max': simd(0xe9),
  'f32x4.pmax': simd(0xeb), 'i32x4.trunc_sat_f32x4_s': simd(0xf8), 'f32x4.convert_i32x4_s': simd(0xfa),
  'f32x4.convert_i32x4_u': simd(0xfb), 'f32x4.relaxed_madd': simd(0x105),
}; // prettier-ignore
export type Plain =
  | 'i32.eqz'
  | 'i32.eq'
  | 'i32.ne'
  | 'i32.lt_s'
  | 'i32.lt_u'
  | 'i32.gt_s'
  | 'i32.gt_u'
  | 'i32.le_s'
  | 'i32.le_u'
  | 'i32.ge_s'
  | 'i32.ge_u'
  | 'i32.add'
  | 'i32.sub'
  | 'i32.mul'
  | 'i32.div_s'
  | 'i32.div_u'
  | 'i32.rem_s'
  | 'i32.rem_u'
  | 'i32.and'
  | 'i32.or'
  | 'i32.xor'
  | 'i32.shl'
  | 'i32.shr_s'
  | 'i32.shr_u'
  | 'f32.eq'
  | 'f32.lt'
  | 'f32.gt'
  | 'f32.ge'
  | 'f32.neg'
  | 'f32.sqrt'
  | 'f32.add'
  | 'f32.sub'
  | 'f32.mul'
  | 'f32.div'
  | 'f32.min'
  | 'f32.max'
  | 'i32.trunc_sat_f32_s'
  | 'f32.convert_i32_s'
  | 'f32.convert_i32_u'
  | 'i32.reinterpret_f32'
  | 'f32.reinterpret_i32'
  | 'drop'
  | 'select'
  | 'return'
  | 'i32x4.splat'
  | 'f32x4.splat'
  | 'i32x4.eq'
  | 'i32x4.gt_s'
  | 'i32x4.lt_s'
  | 'f32x4.eq'
  | 'f32x4.ne'
  | 'f32x4.lt'
  | 'f32x4.gt'
  | 'f32x4.le'
  | 'f32x4.ge'
  | 'v128.not'
  | 'v128.and'
  | 'v128.andnot'
  | 'v128.or'
  | 'v128.xor'
  | 'v128.bitselect'
  | 'v128.any_true'
  | 'f32x4.floor'
  | 'f32x4.nearest'
  | 'i16x8.narrow_i32x4_u'
  | 'i32x4.extend_low_i16x8_u'
  | 'i32x4.shl'
  | 'i32x4.shr_s'
  | 'i32x4.shr_u'
  | 'i32x4.add'
  | 'i32x4.sub'
  | 'i32x4.mul'
  | 'i32x4.min_s'
  | 'i32x4.max_s'
  | 'f32x4.abs'
  | 'f32x4.neg'
  | 'f32x4.sqrt'
  | 'f32x4.add'
  | 'f32x4.sub'
  | 'f32x4.mul'
  | 'f32x4.div'
  | 'f32x4.min'
  | 'f32x4.max'
  | 'f32x4.pmax'
  | 'i32x4.trunc_sat_f32x4_s'
  | 'f32x4.convert_i32x4_s'
  | 'f32x4.convert_i32x4_u'
  | 'f32x4.relaxed_madd';

/** Loads and stores: [bytes, log2 of the natural alignment]. */
export const memory: Readonly<Record<MemoryOp, readonly [readonly number[], number]>> = {
  'i32.load': [[0x28], 2], 'f32.load': [[0x2a], 2], 'i32.load8_u': [[0x2d], 0], 'i32.load16_u': [[0x2f], 1],
  'i32.store': [[0x36], 2], 'f32.store': [[0x38], 2], 'i32.store8': [[0x3a], 0], 'i32.store16': [[0x3b], 1],
  'v128.load': [simd(0x00), 4], 'v128.load32x2_u': [simd(0x06), 3], 'i32x4.load16x4_u': [simd(0x04), 3],
  'v128.load32_splat': [simd(0x09), 2], 'v128.load64_zero': [simd(0x5d), 3],
  'v128.load32_zero': [simd(0x5c), 2], 'v128.store': [simd(0x0b), 4],
  'i32.atomic.rmw.add': [[0xfe, 0x1e], 2],
}; // prettier-ignore
export type MemoryOp =
  | 'i32.load'
  | 'f32.load'
  | 'i32.load8_u'
  | 'i32.load16_u'
  | 'i32.store'
  | 'f32.store'
  | 'i32.store8'
  | 'i32.store16'
  | 'v128.load'
  | 'v128.load32x2_u'
  | 'i32x4.load16x4_u'
  | 'v128.load32_splat'
  | 'v128.load64_zero'
  | 'v128.load32_zero'
  | 'v128.store'
  | 'i32.atomic.rmw.add';

/** Memory instructions with a lane number after the address. */
export const laneMemory: Readonly<Record<LaneMemoryOp, readonly [readonly number[], number]>> = {
  'v128.store64_lane': [simd(0x5b), 3],
  'v128.store32_lane': [simd(0x5a), 2],
  'v128.load32_lane': [simd(0x56), 2],
};
export type LaneMemoryOp = 'v128.store64_lane' | 'v128.store32_lane' | 'v128.load32_lane';

/** Lane access: a lane number follows. */
export const lane: Readonly<Record<LaneOp, readonly number[]>> = {
  'f32x4.extract_lane': simd(0x1f),
  'f32x4.replace_lane': simd(0x20),
  'i32x4.extract_lane': simd(0x1b),
  'i32x4.replace_lane': simd(0x1c),
};
export type LaneOp =
  'f32x4.extract_lane' | 'f32x4.replace_lane' | 'i32x4.extract_lane' | 'i32x4.replace_lane';

export const shuffleCode: readonly number[] = simd(0x0d);
export const v128ConstCode: readonly number[] = simd(0x0c);
