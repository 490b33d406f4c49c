// 2^x for softmax, where x is never positive: no overflow to care for. The general exponential is in vector-math.ts.

import type { FunctionBuilder, Local } from './emitter.ts';

export interface Exp2Constants {
  readonly lowest: Local;
  readonly magic: Local;
  readonly bias: Local;
  readonly coefficients: readonly Local[];
}

/** In locals, so that loops do not build them again each turn. */
export function exp2Constants(f: FunctionBuilder): Exp2Constants {
  const constant = (push: () => void): Local => {
    const c = f.local('v128');
    push();
    f.set(c);
    return c;
  };
  // (2^r - 1) / r on [-1/2, 1/2], interpolated at Chebyshev nodes: relative error below 3e-8.
  const coefficients = [
    0.000154531629, 0.00133908634, 0.00961808256, 0.0555035711, 0.240226508, 0.693147188, 1,
  ];
  return {
    lowest: constant(() => f.f32x4(-127)),
    magic: constant(() => f.f32x4(1.5 * 2 ** 23)),
    bias: constant(() => f.i32x4(127 << 23)),
    coefficients: coefficients.map((c) => constant(() => f.f32x4(c))),
  };
}

/** 2^x for x <= 0, left on the stack: results below 2^-126 are 0, -infinity too; NaN stays NaN. Overwrites x. */
export function exp2(f: FunctionBuilder, x: Local, c: Exp2Constants, relaxed: boolean): void {
  const [t, sum] = f.locals('v128', 2);
  // Adding 1.5·2^23 leaves round(x) in the low bits of the sum.
  f.get(x).get(c.lowest).op('f32x4.pmax').tee(x).get(c.magic).op('f32x4.add').set(t);
  f.get(x).get(t).get(c.magic).op('f32x4.sub').op('f32x4.sub').set(x);
  f.get(c.coefficients[0]!).set(sum);
  for (const coefficient of c.coefficients.slice(1)) {
    if (relaxed) f.get(sum).get(x).get(coefficient).op('f32x4.relaxed_madd').set(sum);
    else f.get(sum).get(x).op('f32x4.mul').get(coefficient).op('f32x4.add').set(sum);
  }
  f.get(sum).get(t).i32(23).op('i32x4.shl').get(c.bias).op('i32x4.add').op('f32x4.mul');
}
