// Every tolerance of the project, with its reason. Looser numbers anywhere else are a review error. An op's descriptor
// says which of them applies to its kernels.

import type { DType } from '../dtype.ts';
import type { Expr } from '../expr.ts';
import type { Precision, Spec } from '../op.ts';

/** A value passes iff |got - want| <= atol + rtol·|want|; NaN passes only where NaN is wanted. */
export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

/** Relative L2 distance within which two kernels of one op count as agreeing when tuned. */
export const tuneTolerance = 1e-2;

/**
 * 8-bit channels of one picture drawn by two float32 backends: sums are ordered differently, a few ulps grow over the
 * steps, and rounding to 8 bits flips values that lay near a half. Measured on emoji-64: at most 1, mean 0.0005.
 */
export const pictureTolerance: { readonly largest: number; readonly mean: number } = {
  largest: 2,
  mean: 0.01,
};

/**
 * The demo's page against Node's CPU: on WebGPU two backends are compared, on the CPU the same code in another engine.
 * Measured on emoji-64, 6 steps, Chromium 156: WebGPU (SwiftShader) at most 1, mean 0.0006; CPU no difference.
 */
export const pagePixelTolerance: { readonly largest: number; readonly mean: number } = pictureTolerance;

/**
 * Relative L2 distance of a picture or latents computed in tiles from those computed whole: norms and attention see one
 * tile instead of the picture, so this says how far the method is off, not the arithmetic (that is compared with the
 * same tiles blended by plain loops). Measured on emoji-64, whose VAE has only seen 64 pixels: 0.37 and 0.16 for
 * 160x128.
 */
export const tiledPictureTolerance: { readonly picture: number; readonly latents: number } = {
  picture: 0.45,
  latents: 0.2,
};

/** Unit roundoff of what is stored. */
const epsilon: Readonly<Record<DType, number>> = {
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
  int32: 0,
  uint8: 0,
  bool: 0,
};

/** Pointwise: 2 ulp plus 1e-5 relative for transcendental approximations, then one rounding to the storage dtype. */
export function pointwiseTolerance(dtype: DType): Tolerance {
  return { rtol: 1e-5 + 2 * epsilon[dtype], atol: dtype === 'float16' ? 2 ** -24 : 1e-6 };
}

/**
 * Sums of k products of values about `scale`, accumulated in float32: the error grows like √k·eps·scale² in
 * practice and never beyond k·eps·scale²; 8 leaves room for the order of summation. Then output rounding.
 */
export function sumTolerance(k: number, dtype: DType, scale = 1): Tolerance {
  return { atol: 8 * Math.sqrt(k) * epsilon.float32 * scale * scale + 1e-6, rtol: 1e-5 + 2 * epsilon[dtype] };
}

/**
 * Norms: mean, then variance, in float32. The mean of values up to 4 is off by eps·4; divided by √(var + 1e-5) >= 0.003
 * that is up to 8e-5 where all values of a row nearly agree.
 */
export function normTolerance(dtype: DType): Tolerance {
  return { atol: 1e-4 + 4 * epsilon[dtype], rtol: 1e-5 + 2 * epsilon[dtype] };
}

/**
 * Relative L2 error of a norm over half a million values: float32 sums in blocks keep this, one running sum misses it
 * 20 times.
 */
export const pictureNormTolerance = 1e-6;

/**
 * Relative L2 distance of a float16 model from its optimised trace: passes that leave out a rounding to storage move
 * values by half an ulp of float16 (5e-4), a few of which add up over the layers. Measured on emoji-64's UNet: see
 * passes.test.ts.
 */
export const narrowTraceTolerance = 5e-3;

/**
 * A float32 graph on a GPU after passes, of values about 1: its compiler may contract a product and a sum that a store
 * separated before (1e-7), and a norm of nearly equal values magnifies that by up to 1/sqrt(1e-5) = 316.
 */
export const fusedOnGpuTolerance: Tolerance = { atol: 1e-4, rtol: 1e-4 };

/**
 * Relative L2 distance of a small float32 UNet on a GPU backend from the CPU: sums are ordered otherwise (1e-7 each)
 * and a few dozen layers add that up. Measured: see trace-gpu.test.ts.
 */
export const tracedOnGpuTolerance = 1e-5;

/** Index of the first value outside the tolerance, or -1. NaN and infinities must match exactly. */
export function firstMismatch(got: ArrayLike<number>, want: ArrayLike<number>, t: Tolerance): number {
  for (let i = 0; i < want.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) <= t.atol + t.rtol * Math.abs(b)) || !Number.isFinite(b)) return i;
  }
  return got.length === want.length ? -1 : Math.min(got.length, want.length);
}

/** ||got - want|| / ||want||; NaN when either has one. */
export function relativeL2(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    error += (got[i]! - want[i]!) ** 2;
    norm += want[i]! ** 2;
  }
  return norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm);
}

/** Ops that move elements: exact, but for one rounding that the reference kernel shares. */
export function exactTolerance(): Tolerance {
  return { atol: 0, rtol: 0 };
}

/**
 * Sums of k products of two operands about 1. tf32 rounds each float32 operand to 10 bits: k independent errors of up
 * to 2^-10 of a product.
 */
export function productTolerance(
  op: { readonly precision?: Precision },
  inputs: readonly Spec[],
  k: number,
  output: DType,
): Tolerance {
  const exact = sumTolerance(k, output, 2);
  const rounded = op.precision === 'tf32' && inputs.slice(0, 2).every((x) => x.dtype === 'float32');
  return rounded ? { ...exact, atol: exact.atol + 4 * Math.sqrt(k) * 2 ** -10 } : exact;
}

/** Winograd's method: 16 products a channel, of sums of four inputs. */
export function winogradTolerance(channels: number, output: DType): Tolerance {
  return sumTolerance(64 * channels, output, 2);
}

/** Smooth epilogues scale the accumulator's error by at most about 2. */
export function epilogueTolerance(t: Tolerance, epilogue: Expr | undefined): Tolerance {
  return epilogue === undefined ? t : { atol: 2 * t.atol, rtol: 2 * t.rtol };
}

/**
 * Attention over `keys` keys of `size` elements. Scores are sums of products, then exponentiated: their absolute error
 * becomes a relative one. Tensor cores take weights in the inputs' format: a mean of values up to 4 by weights off by
 * one rounding.
 */
export function attentionTolerance(
  size: number,
  keys: number,
  inputs: readonly Spec[],
  output: DType,
): Tolerance {
  const exact = sumTolerance(4 * (size + keys), output, 2);
  const first = inputs[0]!.dtype;
  const narrow = inputs.slice(0, 3).every((x) => x.dtype === first) ? first : 'float32';
  return narrow === 'float32' ? exact : { ...exact, atol: exact.atol + 4 * epsilon[narrow] };
}

/** Reductions: sums of values up to about 4; the others pick a value. */
export function reductionTolerance(fn: string, elements: number, output: DType): Tolerance {
  return fn === 'sum' ? sumTolerance(elements, output, 4) : pointwiseTolerance(output);
}

/**
 * A scheduler's run beside Python's, whose largest values (samples, noise levels, timesteps) are about `scale`: float32
 * sums in another order, and NumPy's and torch's own log and sqrt, which end in another last bit on other CPUs.
 * Measured: 6e-6. Rescaling to zero terminal SNR takes differences of such roots: the first 1 - product, about 1e-4,
 * moves by whole ulps of 1, and noise levels by up to 1e-3 of themselves. Measured: 1.6e-4.
 */
export function schedulerTolerance(scale: number, rescaled: boolean): Tolerance {
  return { atol: (rescaled ? 3e-4 : 1e-5) * scale, rtol: 1e-5 };
}

/** Of the sum and the mean of 768 absolute values: those of the reference's own tests. */
export const fullLoopTolerance: { readonly sum: number; readonly mean: number } = { sum: 1e-2, mean: 1e-3 };

/**
 * Rounding of a float32 sum of k terms whose magnitudes add up to `size`: √k·eps·size in practice, k·eps·size at worst.
 */
export function roundingOfSum(k: number, size: number): number {
  return Math.sqrt(k) * epsilon.float32 * size + 1e-7;
}
