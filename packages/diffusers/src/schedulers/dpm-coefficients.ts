// The update formulas of multi-step DPM-Solver as plain numbers: next sample = sample · a + Σ outputs · b + noise · c.
// Reference: Lu et al. 2022, arXiv 2206.00927 (section 3) and 2211.01095 (section 4 and appendix for the SDE).

import type { Level } from './solver-schedule.ts';

/** The equation that is solved: of the noise or of the sample (++), as an ODE or as an SDE. */
export type DpmAlgorithm = 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++';
/** The solver of second-order steps. */
export type DpmSolver = 'midpoint' | 'heun';

export interface DpmCoefficients {
  readonly sample: number;
  /** For the newest output, the one before it, … */
  readonly outputs: readonly number[];
  readonly noise: number;
}

const f = Math.fround;

/** levels: the one to reach, then that of the sample, then those of earlier outputs; as many as order + 1. */
export function dpmCoefficients(
  algorithm: DpmAlgorithm,
  solver: DpmSolver,
  levels: readonly Level[],
): DpmCoefficients {
  const [target, now, ...before] = levels as [Level, Level, ...Level[]];
  const h = f(target.lambda - now.lambda);
  if (h === 0) return { sample: 1, outputs: [0], noise: 0 }; // the final level again
  const { sample, factor, first, second, noise } = weights(
    algorithm,
    solver,
    target,
    now,
    h,
    levels.length - 1,
  );
  if (before.length === 0) return { sample, outputs: [factor], noise };
  const r0 = f(f(now.lambda - before[0]!.lambda) / h);
  // First difference quotient of the two newest outputs.
  if (before.length === 1) return { sample, outputs: [factor + first / r0, -first / r0], noise };
  const r1 = f(f(before[0]!.lambda - before[1]!.lambda) / h);
  // First and second derivative from three outputs (divided differences at unequal steps).
  const d10 = (1 + r0 / (r0 + r1)) * first + second / (r0 + r1); // weight of (m0 - m1) / r0
  const d11 = (-r0 / (r0 + r1)) * first - second / (r0 + r1); // weight of (m1 - m2) / r1
  return { sample, outputs: [factor + d10 / r0, -d10 / r0 + d11 / r1, -d11 / r1], noise };
}

interface Weights {
  readonly sample: number;
  /** Of the newest output itself. */
  readonly factor: number;
  /** Of the first derivative. */
  readonly first: number;
  /** Of the second derivative. */
  readonly second: number;
  readonly noise: number;
}

/**
 * In float32 step by step, as diffusers computes them: for short steps (e/h + 1, and still more the second-order term)
 * cancel so many digits that its rounding shows in the samples; exact numbers would not give its pictures.
 */
function weights(
  algorithm: DpmAlgorithm,
  solver: DpmSolver,
  target: Level,
  now: Level,
  h: number,
  order: number,
): Weights {
  // The third order has one formula; solver_type chooses between two for the second.
  const midpoint = solver === 'midpoint' && order === 2;
  switch (algorithm) {
    case 'dpmsolver++': {
      const e = f(f(Math.exp(-h)) - 1);
      return {
        sample: f(target.sigma / now.sigma),
        factor: -f(target.alpha * e),
        first: midpoint ? -0.5 * f(target.alpha * e) : f(target.alpha * f(f(e / h) + 1)),
        second: -f(target.alpha * f(f(f(e + h) / f(h * h)) - 0.5)),
        noise: 0,
      };
    }
    case 'dpmsolver': {
      const e = f(f(Math.exp(h)) - 1);
      return {
        sample: f(target.alpha / now.alpha),
        factor: -f(target.sigma * e),
        first: midpoint ? -0.5 * f(target.sigma * e) : -f(target.sigma * f(f(e / h) - 1)),
        second: -f(target.sigma * f(f(f(e - h) / f(h * h)) - 0.5)),
        noise: 0,
      };
    }
    case 'sde-dpmsolver++': {
      const e = f(1 - f(Math.exp(-2 * h)));
      return {
        sample: f(f(target.sigma / now.sigma) * f(Math.exp(-h))),
        factor: f(target.alpha * e),
        first: midpoint ? 0.5 * f(target.alpha * e) : f(target.alpha * f(f(e / (-2 * h)) + 1)),
        // Expanding the integral gives + 0.5; diffusers has - 0.5, and its pictures are what is reproduced.
        second: f(target.alpha * f(f(f(e - 2 * h) / f(4 * h * h)) - 0.5)),
        noise: f(target.sigma * f(Math.sqrt(e))),
      };
    }
    case 'sde-dpmsolver': {
      const e = f(f(Math.exp(h)) - 1);
      return {
        sample: f(target.alpha / now.alpha),
        factor: -2 * f(target.sigma * e),
        first: midpoint ? -f(target.sigma * e) : -2 * f(target.sigma * f(f(e / h) - 1)),
        second: 0,
        noise: f(target.sigma * f(Math.sqrt(f(f(Math.exp(2 * h)) - 1)))),
      };
    }
  }
}
