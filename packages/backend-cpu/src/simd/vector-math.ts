// Functions on four floats at once, as emitted code. Each takes its argument from a local and leaves the result on
// the stack. Polynomials are those of the Cephes library (S. Moshier); errors are a few units in the last place.

import type { FunctionBuilder, Local } from './emitter.ts';

type F = FunctionBuilder;

/** Horner: ((c0·x + c1)·x + …); leaves the value on the stack. */
function polynomial(f: F, x: Local, coefficients: readonly number[]): void {
  f.f32x4(coefficients[0]!);
  for (const c of coefficients.slice(1)) f.get(x).op('f32x4.mul').f32x4(c).op('f32x4.add');
}

/** e^x over the whole range: overflow to infinity, underflow through subnormals to 0, NaN stays NaN. */
export function exp(f: F, x: Local): void {
  const [n, r, k] = f.locals('v128', 3);
  // n = round(x / ln 2); r = x - n·ln 2 in two parts, so that r is exact to the last bits.
  f.get(x).f32x4(-104).op('f32x4.max').f32x4(89).op('f32x4.min').tee(r);
  f.f32x4(Math.LOG2E).op('f32x4.mul').op('f32x4.nearest').set(n);
  f.get(r).get(n).f32x4(0.693359375).op('f32x4.mul').op('f32x4.sub');
  f.get(n).f32x4(-2.1219444e-4).op('f32x4.mul').op('f32x4.sub').set(r);
  polynomial(
    f,
    r,
    [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
  );
  f.get(r).op('f32x4.mul').get(r).op('f32x4.mul').get(r).op('f32x4.add').f32x4(1).op('f32x4.add');
  // · 2^n as two factors: 2^128 and 2^-150 are out of a float's exponent range, their halves are not.
  f.get(n).op('i32x4.trunc_sat_f32x4_s').tee(k).i32(1).op('i32x4.shr_s').tee(n);
  f.i32x4(127).op('i32x4.add').i32(23).op('i32x4.shl').op('f32x4.mul');
  f.get(k).get(n).op('i32x4.sub').i32x4(127).op('i32x4.add').i32(23).op('i32x4.shl').op('f32x4.mul');
}

/** 1 / (1 + e^-x). */
export function sigmoid(f: F, x: Local): void {
  const t = f.local('v128');
  f.get(x).op('f32x4.neg').set(t);
  f.f32x4(1);
  exp(f, t);
  f.f32x4(1).op('f32x4.add').op('f32x4.div');
}

/** Takes the sign bit of `from` onto the magnitude on the stack. */
function copySign(f: F, from: Local): void {
  f.get(from).i32x4(-2147483648).op('v128.and').op('v128.or');
}

export function tanh(f: F, x: Local): void {
  const [a, s, small] = f.locals('v128', 3);
  f.get(x).get(x).op('f32x4.mul').set(s);
  polynomial(
    f,
    s,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  );
  f.get(s).op('f32x4.mul').get(x).op('f32x4.mul').get(x).op('f32x4.add').set(small);
  // Large: 1 - 2 / (e^2|x| + 1), with x's sign.
  f.get(x).op('f32x4.abs').tee(a).get(a).op('f32x4.add').set(s);
  f.get(small);
  f.f32x4(1).f32x4(2);
  exp(f, s);
  f.f32x4(1).op('f32x4.add').op('f32x4.div').op('f32x4.sub');
  copySign(f, x);
  f.get(a).f32x4(0.625).op('f32x4.lt').op('v128.bitselect');
}

export function erf(f: F, x: Local): void {
  const [a, s, t, small] = f.locals('v128', 4);
  f.get(x).get(x).op('f32x4.mul').set(s);
  polynomial(f, s, [
    7.853861353153693e-5, -8.010193625184903e-4, 5.188327685732524e-3, -2.685381193529856e-2, 1.128358514861418e-1,
    -3.7612625824233e-1, 1.128379165726710,
  ]); // prettier-ignore
  f.get(x).op('f32x4.mul').set(small);
  // |x| >= 1: 1 - t·e^(-x² + P(t)) with t = 1/(1 + |x|/2) (Press et al., Numerical Recipes, section 6.2).
  f.f32x4(1)
    .get(x)
    .op('f32x4.abs')
    .tee(a)
    .f32x4(0.5)
    .op('f32x4.mul')
    .f32x4(1)
    .op('f32x4.add')
    .op('f32x4.div')
    .set(t);
  polynomial(
    f,
    t,
    [
      0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196,
      1.00002368, -1.26551223,
    ],
  );
  f.get(s).op('f32x4.sub').set(s);
  f.get(small);
  f.f32x4(1).get(t);
  exp(f, s);
  f.op('f32x4.mul').op('f32x4.sub');
  copySign(f, x);
  f.get(a).f32x4(1).op('f32x4.lt').op('v128.bitselect');
}

/** float16 bits in 32-bit lanes → floats (exact). */
export function fromHalf(f: F, bits: Local): void {
  const em = f.local('v128');
  // Exponent and mantissa shifted into place, then · 2^112 rebiases and normalises subnormals in one multiplication.
  f.get(bits).i32x4(0x7fff).op('v128.and').i32(13).op('i32x4.shl').tee(em);
  f.f32x4(2 ** 112).op('f32x4.mul');
  f.get(em).i32x4(0x0f7fffff).op('i32x4.gt_s').i32x4(0x7f800000).op('v128.and').op('v128.or'); // inf, NaN
  f.get(bits).i32x4(0x8000).op('v128.and').i32(16).op('i32x4.shl').op('v128.or');
}

/** Floats → float16 bits in 32-bit lanes, to nearest even. */
export function toHalf(f: F, x: Local): void {
  const [a, normal, sub] = f.locals('v128', 3);
  f.get(x).i32x4(0x7fffffff).op('v128.and').set(a);
  // Normal: rebias the exponent, add half an ulp (less one unless the kept mantissa is odd), drop 13 bits.
  f.get(a).get(a).i32(13).op('i32x4.shr_u').i32x4(1).op('v128.and').op('i32x4.add');
  f.i32x4(((15 - 127) << 23) + 0xfff)
    .op('i32x4.add')
    .i32(13)
    .op('i32x4.shr_u')
    .set(normal);
  // Subnormal: adding 0.5 lines the bits up and rounds them.
  f.get(a).f32x4(0.5).op('f32x4.add').i32x4(0x3f000000).op('i32x4.sub').set(sub);
  f.get(sub).get(normal).get(a).i32x4(0x38800000).op('i32x4.lt_s').op('v128.bitselect').set(normal);
  // 65520 and above: infinity; NaN: a quiet one.
  f.i32x4(0x7e00).i32x4(0x7c00).get(a).i32x4(0x7f800000).op('i32x4.gt_s').op('v128.bitselect');
  f.get(normal).get(a).i32x4(0x477fefff).op('i32x4.gt_s').op('v128.bitselect');
  f.get(x).i32(16).op('i32x4.shr_u').i32x4(0x8000).op('v128.and').op('v128.or');
}

/** Floats → bfloat16 bits in 32-bit lanes, to nearest even. */
export function toBfloat(f: F, x: Local): void {
  const quiet = f.local('v128');
  f.get(x).i32(16).op('i32x4.shr_u').i32x4(0x40).op('v128.or').set(quiet);
  f.get(x)
    .get(x)
    .i32(16)
    .op('i32x4.shr_u')
    .i32x4(1)
    .op('v128.and')
    .op('i32x4.add')
    .i32x4(0x7fff)
    .op('i32x4.add');
  f.i32(16).op('i32x4.shr_u').get(quiet).get(x).get(x).op('f32x4.eq').op('v128.bitselect');
}
