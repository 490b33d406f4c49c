// Random tensors on the device from Philox4x32-10 (Salmon et al., SC11): the same numbers on every backend.
// Element i uses word i mod 4 of the block with counter (offset + floor(i/4), 0, 0, 0) and key = seed.
// uniform: (word >>> 8) · 2^-24. normal: Box-Muller on word pairs (0,1), (2,3) of the block:
// r = √(-2 ln((w₀ + 1) · 2^-32)), θ = 2π · w₁ · 2^-32, giving r·cos θ then r·sin θ. Not torch's stream: latents
// that must match diffusers are drawn on the host (diffusers/random).

import { dtype, integer, list, oneOf, size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { checkShape, elementCount, layoutOf } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { pointwiseTolerance } from '../testing/tolerance.ts';

/** Philox4x32-10 keyed by seed; element i takes word i mod 4 of block offset + floor(i/4). */
export interface RandomOp {
  readonly kind: 'random';
  readonly distribution: 'normal' | 'uniform';
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** [low, high] 32-bit words. Run-time data: they never specialise a kernel. */
  readonly seed: readonly [number, number];
  readonly offset: number;
}

/** See OpRules. */
export const randomDefinition: OpDefinition<RandomOp> = {
  kind: 'random',
  inputs: [0, 0],
  attributes: {
    distribution: oneOf('normal', 'uniform'),
    shape: list(size),
    dtype,
    seed: list(integer(0, 2 ** 32 - 1), 2),
    offset: size,
  },
  key: (op) => `random ${op.distribution} ${op.dtype} ${op.shape}`,
  scalars: (op) => [op.seed[0], op.seed[1], op.offset],
  tolerance: (_op, _inputs, output) => pointwiseTolerance(output),
  infer(op) {
    checkShape('random', op.shape);
    requireFloat('random', 'dtype', op.dtype);
    return { dtype: op.dtype, layout: layoutOf(op.shape) };
  },
  cost: (op) => ({
    flops: 30 * elementCount(op.shape),
    bytes: elementCount(op.shape) * dtypes[op.dtype].bytes,
  }),
};

/** Options of randomNormal and randomUniform. */
export interface RandomOptions {
  readonly device: Device;
  readonly dtype?: DType;
  /** 64 bits as a bigint, or an integer. */
  readonly seed: number | bigint;
  /** First counter block; a tensor of n elements uses ceil(n/4). */
  readonly offset?: number;
}

function random(
  distribution: RandomOp['distribution'],
  shape: readonly number[],
  options: RandomOptions,
): Tensor {
  const seed = BigInt.asUintN(64, BigInt(options.seed));
  const op: RandomOp = {
    kind: 'random',
    distribution,
    shape,
    dtype: options.dtype ?? 'float32',
    seed: [Number(seed & 0xffffffffn), Number(seed >> 32n)],
    offset: options.offset ?? 0,
  };
  return dispatch(randomDefinition, op, [], { device: options.device });
}

/** Standard normal values of `shape`; contiguous. */
export const randomNormal = (shape: readonly number[], options: RandomOptions): Tensor =>
  random('normal', shape, options);
/** Values of `shape` uniform in [0, 1); contiguous. */
export const randomUniform = (shape: readonly number[], options: RandomOptions): Tensor =>
  random('uniform', shape, options);

/** One Philox4x32-10 block: 4 words from a counter (low word varies) and a 64-bit key. */
export function philox(counter: number, key0: number, key1: number, out: Uint32Array): void {
  let c0 = counter >>> 0;
  let c1 = Math.floor(counter / 2 ** 32) >>> 0;
  let c2 = 0;
  let c3 = 0;
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < 10; round++) {
    const hi0 = mulHigh(0xd2511f53, c0);
    const lo0 = Math.imul(0xd2511f53, c0) >>> 0;
    const hi1 = mulHigh(0xcd9e8d57, c2);
    const lo1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (hi1 ^ c1 ^ k0) >>> 0;
    c1 = lo1;
    c2 = (hi0 ^ c3 ^ k1) >>> 0;
    c3 = lo0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** High 32 bits of a 32×32-bit product. */
function mulHigh(a: number, b: number): number {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const mid = ah * bl + ((al * bl) >>> 16);
  const mid2 = al * bh + (mid & 0xffff); // mid may pass 2^31: & and >>> read it as 32 bits, so split by arithmetic
  return (ah * bh + Math.floor(mid / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}
