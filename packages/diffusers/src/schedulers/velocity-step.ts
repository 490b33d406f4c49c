// The Euler step of a v-prediction model in diffusers' order of operations, one pointwise op.
// From sigma 4096 (zero terminal SNR) the first step cancels three digits of float32: summed in any other order, the
// result ends about 3e-6 away from the reference.

import { map } from '@darkroom/core';
import type { Expr, Tensor } from '@darkroom/core';

export interface VelocityStep {
  /** The noise level of the sample. */
  readonly level: number;
  /** Divisor of the derivative: the level, or the raised level under churn. */
  readonly divisor: number;
  /** Change of the level. */
  readonly step: number;
  /** Fresh noise to add, and its standard deviation. */
  readonly noise?: readonly [Tensor, number];
}

/** sample + (sample - x0) / divisor · step (+ noise), x0 from the v-prediction. */
export function velocityStep(
  sample: Tensor,
  velocity: Tensor,
  { level, divisor, step, noise }: VelocityStep,
): Tensor {
  const f = Math.fround;
  const square = f(f(level * level) + 1);
  const [x, v]: [Expr, Expr] = [
    ['in', 0],
    ['in', 1],
  ];
  const original: Expr = ['add', ['mul', v, ['scalar', 0]], ['div', x, ['scalar', 1]]];
  const slope: Expr = ['div', ['sub', x, original], ['scalar', 2]];
  const moved: Expr = ['add', x, ['mul', slope, ['scalar', 3]]];
  const scalars = [-level / f(Math.sqrt(square)), square, divisor, step];
  if (!noise || noise[1] === 0) return map(moved, [sample, velocity], { scalars, dtype: sample.dtype });
  return map(['add', moved, ['mul', ['in', 2], ['scalar', 4]]], [sample, velocity, noise[0]], {
    scalars: [...scalars, noise[1]],
    dtype: sample.dtype,
  });
}
