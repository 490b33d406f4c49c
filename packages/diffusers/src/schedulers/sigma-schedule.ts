// Base of the classes that work on noise levels (Euler, Euler ancestral, Heun, LMS): samples are x0 + sigma · noise,
// the model's input is divided by sqrt(sigma² + 1).
// Reference: Karras et al. 2022; the tables follow diffusers.

import { ArgumentError } from '@darkroom/core';
import type { BetaConfig, BetaTable } from './betas.ts';
import type { Refuse } from './config.ts';
import type { Fields } from './fields.ts';
import type { Mix } from './prediction.ts';
import { BaseSchedule } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule } from './scheduler.ts';
import { sigmaAt, spacedSigmas, timestepOf, trainSigmas, withFinal } from './sigmas.ts';
import type { SigmaConfig } from './sigmas.ts';
import { checkLevels } from './signal.ts';
import { spacedTimesteps } from './spacing.ts';
import type { SpacingConfig } from './spacing.ts';

export interface Levels {
  readonly timesteps: readonly number[];
  /** Noise levels, with the final one. */
  readonly sigmas: readonly number[];
}

/** n steps spaced as the config says, by timestep or by sigma; timesteps keep their fractions. */
export function spacedLevels(
  config: SpacingConfig & SigmaConfig & BetaConfig,
  table: BetaTable,
  n: number,
  refuse: Refuse,
  final = 0,
): Levels {
  return levelsAt(config, table, spacedTimesteps(config, n, refuse, true), refuse, final);
}

/** The levels of given timesteps, re-spaced between the same ends if the config spaces sigmas. */
export function levelsAt(
  config: SigmaConfig & BetaConfig,
  table: BetaTable,
  timesteps: readonly number[],
  refuse: Refuse,
  final = 0,
): Levels {
  const train = trainSigmas(table.alphasCumprod);
  const plain = timesteps.map((t) => sigmaAt(t, train));
  checkLevels(refuse, config, { timesteps, sigmas: [...plain, final] });
  const spaced = spacedSigmas(config, plain, timesteps.length, refuse);
  if (!spaced) return { timesteps, sigmas: withFinal(plain, final) };
  return {
    timesteps: spaced.map((s) => Math.fround(timestepOf(s, train))),
    sigmas: withFinal(spaced, final),
  };
}

/**
 * Standard deviation of initial noise: the largest sigma; with leading spacing sqrt(sigma² + 1), as it has unit signal.
 */
export function initialSigma(config: SpacingConfig, sigmas: readonly number[]): number {
  const max = Math.max(...sigmas);
  return Math.fround(config.timestep_spacing === 'leading' ? Math.sqrt(max * max + 1) : max);
}

export abstract class SigmaSchedule extends BaseSchedule {
  readonly sigmas: readonly number[];
  override readonly initNoiseSigma: number;

  constructor(className: string, levels: Levels, initNoiseSigma: number) {
    super(className, levels.timesteps);
    this.sigmas = levels.sigmas;
    this.initNoiseSigma = initNoiseSigma;
  }

  protected override inputDivisor(i: number): number {
    const sigma = this.sigmas[i]!;
    return Math.sqrt(sigma * sigma + 1);
  }
}

/**
 * The index of a timestep in a schedule; the second one of a timestep that occurs twice, so that a run that starts in
 * the middle (image-to-image) skips no sigma.
 */
export function indexOfTimestep(className: string, schedule: Schedule, t: number): number {
  if (schedule.beginIndex !== undefined) return schedule.beginIndex;
  const first = schedule.timesteps.indexOf(t);
  if (first < 0)
    throw new ArgumentError(
      `${className}: timestep ${t} is not in the schedule (${preview(schedule.timesteps)})`,
    );
  return schedule.timesteps[first + 1] === t ? first + 1 : first;
}

function preview(values: readonly number[]): string {
  return values.length > 4 ? `${values.slice(0, 3).join(', ')}, …, ${values.at(-1)}` : values.join(', ');
}

export abstract class SigmaScheduler<F extends Fields = Fields> extends Scheduler<F> {
  /** sample + sigma · noise. */
  protected override mixAt(t: number, schedule: Schedule | undefined): Mix {
    if (!schedule?.sigmas)
      throw new ArgumentError(`${this.className}: addNoise needs the schedule whose timesteps it is given`);
    return { alpha: 1, sigma: schedule.sigmas[indexOfTimestep(this.className, schedule, t)]! };
  }
}
