// Scalar functions of expressions that WGSL lacks, leaves imprecise, or defines differently for NaN and infinities.
// Each text serves one float (T = f32) or four (T = vec4<f32>). Polynomials are those of the Cephes library
// (S. Moshier) and Numerical Recipes (Press et al., section 6.2), as in the CPU backend.

/** A polynomial in `x`, highest coefficient first, in fused steps: half the instructions where products stay unfused. */
const polynomial = (x: string, [first, ...rest]: readonly string[]): string =>
  rest.reduce((text, c) => `fma(${text}, ${x}, F(${c}))`, `F(${first})`);

type VectorFunction =
  'is_nan' | 'min_nan' | 'max_nan' | 'exp_' | 'reciprocal' | 'sigmoid' | 'tanh_' | 'erf' | 'sine';

/** F: the float type, U: unsigned, B: bool, I: signed, of the same width. */
const texts: Readonly<Record<VectorFunction, string>> = {
  is_nan: 'fn is_nan(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }',
  min_nan: 'fn min_nan(a: F, b: F) -> F { return select(min(a, b), a + b, is_nan(a) | is_nan(b)); }',
  max_nan: 'fn max_nan(a: F, b: F) -> F { return select(max(a, b), a + b, is_nan(a) | is_nan(b)); }',
  // e^x to the last bits (a driver's may miss by several): timestep embeddings show it.
  exp_: `fn exp_(x: F) -> F {
  let n = round(clamp(x, F(-104.0), F(89.0)) * F(1.44269504088896341));
  let r = (clamp(x, F(-104.0), F(89.0)) - n * F(0.693359375)) + n * F(2.1219444e-4);
  let p = ${polynomial('r', ['1.98756915e-4', '1.3981999507e-3', '8.3334519073e-3', '4.1665795894e-2', '1.6666665459e-1', '5.0000001201e-1'])} * r * r + r + F(1.0);
  let k = I(n) / I(2);
  let scaled = p * bitcast<F>((k + I(127)) << U(23u)) * bitcast<F>((I(n) - k + I(127)) << U(23u));
  return select(scaled, x, is_nan(x));
}`,
  // A backend may have an instruction for it, to 2 ulp.
  reciprocal: 'fn reciprocal(x: F) -> F { return F(1.0) / x; }',
  sigmoid: 'fn sigmoid(x: F) -> F { return reciprocal(F(1.0) + exp(-x)); }',
  tanh_: `fn tanh_(x: F) -> F {
  let s = x * x;
  let small = ${polynomial('s', ['-5.70498872745e-3', '2.06390887954e-2', '-5.37397155531e-2', '1.33314422036e-1', '-3.33332819422e-1'])} * s * x + x;
  let large = sign(x) * (F(1.0) - F(2.0) * reciprocal(exp(F(2.0) * min(abs(x), F(20.0))) + F(1.0)));
  return select(select(large, small, abs(x) < F(0.625)), x, is_nan(x));
}`,
  erf: `fn erf(x: F) -> F {
  let s = x * x;
  let small = ${polynomial('s', ['7.853861353153693e-5', '-8.010193625184903e-4', '5.188327685732524e-3', '-2.685381193529856e-2', '1.128358514861418e-1', '-3.7612625582423e-1', '1.128379165726710'])} * x;
  let t = reciprocal(F(1.0) + F(0.5) * abs(x));
  let p = ${polynomial('t', ['0.17087277', '-0.82215223', '1.48851587', '-1.13520398', '0.27886807', '-0.18628806', '0.09678418', '0.37409196', '1.00002368', '-1.26551223'])};
  let large = sign(x) * (F(1.0) - t * exp(p - min(s, F(80.0))));
  return select(select(large, small, abs(x) < F(1.0)), x, is_nan(x));
}`,
  sine: `fn sine(x: F, quarter: I) -> F {
  let k = round(x * F(0.6366197723675814));
  let r = ((x - k * F(1.5703125)) - k * F(4.837512969970703e-4)) - k * F(7.549789948768648e-8);
  let s = r * r;
  let sin_r = ((F(-1.9515295891e-4) * s + F(8.3321608736e-3)) * s + F(-1.6666654611e-1)) * s * r + r;
  let cos_r = ((F(2.443315711809948e-5) * s + F(-1.388731625493765e-3)) * s + F(4.166664568298827e-2)) * s * s
    - F(0.5) * s + F(1.0);
  let q = I(k) + quarter;
  let v = select(sin_r, cos_r, (q & I(1)) == I(1));
  return select(v, -v, (q & I(2)) == I(2));
}`,
};

/** One at a time only: their special cases branch. */
const scalarTexts = {
  // x = m · 2^e: e · (integer part of y) is exact, so that large exponents keep their digits.
  power: `fn power(x: f32, y: f32) -> f32 {
  if (y == 0.0) { return 1.0; }
  let whole = floor(y);
  let odd = whole == y && abs(y) < 16777216.0 && (i32(whole) & 1) == 1;
  if (x < 0.0 && whole != y) { return bitcast<f32>(P.nan); }
  let a = bitcast<u32>(x) & 0x7fffffffu;
  if (a == 0u || a >= 0x7f800000u || abs(y) > 1e6) {
    let p = select(pow(abs(x), y), bitcast<f32>(a), y == 1.0);
    if (a == 0u) { return select(bitcast<f32>(P.inf), 0.0, y > 0.0); }
    return select(p, -p, x < 0.0 && odd);
  }
  var e = i32(a >> 23u) - 127;
  var m = bitcast<f32>((a & 0x7fffffu) | 0x3f800000u);
  if (m > 1.4142135) { m = m * 0.5; e = e + 1; }
  let n = clamp(whole * f32(e), -300.0, 300.0);
  let t = (y - whole) * f32(e) + y * log2(m);
  let f = floor(t);
  let total = i32(n) + i32(f);
  let half = clamp(total / 2, -126, 127);
  let rest = clamp(total - half, -126, 127);
  let v = exp2(t - f) * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
  return select(v, -v, x < 0.0 && odd);
}`,
} as const;

export type MathFunction = VectorFunction | keyof typeof scalarTexts;

const needs: Readonly<Partial<Record<MathFunction, readonly MathFunction[]>>> = {
  exp_: ['is_nan'],
  min_nan: ['is_nan'],
  max_nan: ['is_nan'],
  tanh_: ['is_nan', 'reciprocal'],
  erf: ['is_nan', 'reciprocal'],
  sigmoid: ['reciprocal'],
};

/** [name, text] of a function for `width` floats and of all it calls, callees first; names carry the width. */
export function mathFunction(name: MathFunction, width: 1 | 4): readonly (readonly [string, string])[] {
  if (name in scalarTexts) return [[name, scalarTexts[name as keyof typeof scalarTexts]]];
  const callees = (needs[name] ?? []).flatMap((n) => mathFunction(n, width));
  const types: Readonly<Record<string, string>> =
    width === 1
      ? { F: 'f32', U: 'u32', B: 'bool', I: 'i32' }
      : { F: 'vec4<f32>', U: 'vec4<u32>', B: 'vec4<bool>', I: 'vec4<i32>' };
  let text = texts[name as VectorFunction].replace(/\b[FUBI]\b/g, (t) => types[t]!);
  if (width === 4) {
    for (const n of Object.keys(texts)) text = text.replaceAll(`${n}(`, `${n}4(`);
  }
  return [...callees, [mathName(name, width), text]];
}

export function mathName(name: MathFunction, width: 1 | 4): string {
  return width === 4 && name in texts ? `${name}4` : name;
}
