// Base of DPM-Solver and UniPC: variance-preserving samples on a grid of noise levels, integer timesteps.
// Reference: Lu et al. 2022 (arXiv 2206.00927); the tables follow diffusers.

import { ArgumentError } from '@darkroom/core';
import type { BetaConfig } from './betas.ts';
import type { Refuse } from './config.ts';
import { choice, flag, mustBeFalse, number } from './fields.ts';
import type { Field, Fields } from './fields.ts';
import { mixOfSigma } from './prediction.ts';
import type { Mix } from './prediction.ts';
import { BaseSchedule } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule } from './scheduler.ts';
import type { Levels } from './sigma-schedule.ts';
import { checkFalling, checkLevels } from './signal.ts';

export type FinalSigma = 'zero' | 'sigma_min';

/** Keys of both solvers. Flow matching, for other models, is refused; its parameters alone have no effect. */
export const solverFields: {
  readonly final_sigmas_type: Field<FinalSigma>;
  readonly lower_order_final: Field<boolean>;
  readonly rescale_betas_zero_snr: Field<boolean>;
  readonly use_flow_sigmas: Field<false>;
  readonly flow_shift: Field<number>;
  readonly time_shift_type: Field<'exponential' | 'linear'>;
} = {
  final_sigmas_type: choice<FinalSigma>('zero', ['zero', 'sigma_min']),
  lower_order_final: flag(true),
  rescale_betas_zero_snr: flag(false),
  use_flow_sigmas: mustBeFalse(),
  flow_shift: number(1),
  time_shift_type: choice('exponential', ['exponential', 'linear']),
};

/** A noise level: alpha, sigma and lambda. */
export interface Level extends Mix {
  /** log(alpha / sigma): the solvers' time. Infinite at sigma 0. */
  readonly lambda: number;
}

/**
 * The Level of a sigma / alpha ratio, in float32 like diffusers: third-order differences of lambdas magnify rounding.
 */
export function levelOf(level: number): Level {
  const f = Math.fround;
  const alpha = f(1 / f(Math.sqrt(f(f(level * level) + 1))));
  const sigma = f(level * alpha);
  return { alpha, sigma, lambda: f(f(Math.log(alpha)) - f(Math.log(sigma))) };
}

/**
 * Requires the lambdas of a run's levels to differ, as the solvers divide by the differences. Only the final level may
 * repeat (final_sigmas_type 'sigma_min' of spaced sigmas): that step leaves the sample unchanged.
 */
export function checkSolverLevels(
  refuse: Refuse,
  config: BetaConfig & { readonly final_sigmas_type: FinalSigma },
  levels: Levels,
): Levels {
  checkLevels(refuse, config, levels);
  if (config.final_sigmas_type === 'sigma_min')
    checkLevels(refuse, config, { timesteps: [0], sigmas: [levels.sigmas.at(-1)!, 0] });
  checkFalling(refuse, config, levels.sigmas, (sigma) => levelOf(sigma).lambda);
  return levels;
}

export abstract class SolverSchedule extends BaseSchedule {
  protected override readonly sequential = true;
  readonly sigmas: readonly number[];
  /** Number of steps done, also in a run that starts late. */
  protected calls = 0;

  constructor(className: string, levels: Levels) {
    super(className, levels.timesteps);
    this.sigmas = levels.sigmas;
  }

  protected level(i: number): Level {
    return levelOf(this.sigmas[i]!);
  }
}

export abstract class SolverScheduler<F extends Fields = Fields> extends Scheduler<F> {
  /** The mix at the schedule's noise level: spaced sigmas lie between the entries of the training table. */
  protected override mixAt(t: number, schedule: Schedule | undefined): Mix {
    if (!schedule?.sigmas)
      throw new ArgumentError(`${this.className}: addNoise needs the schedule whose timesteps it is given`);
    return mixOfSigma(schedule.sigmas[solverIndex(schedule, t)]!);
  }
}

/** The index of a timestep: the second of two equal ones; the last for a timestep that is not in the schedule. */
function solverIndex(schedule: Schedule, t: number): number {
  if (schedule.beginIndex !== undefined) return schedule.beginIndex;
  const first = schedule.timesteps.indexOf(t);
  if (first < 0) return schedule.timesteps.length - 1;
  return schedule.timesteps[first + 1] === t ? first + 1 : first;
}
