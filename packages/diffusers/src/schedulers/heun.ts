// Heun's method over sigmas (Karras et al. 2022, algorithm 1): an Euler step, then a second evaluation at its end
// whose derivative is averaged with the first. Two model calls a step but the last, so n steps make 2n - 1.

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import {
  clipFields,
  explodingOriginalTerms,
  limitedOriginal,
  limits,
  predictionField,
} from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { initialSigma, levelsAt, SigmaSchedule, SigmaScheduler, spacedLevels } from './sigma-schedule.ts';
import type { Levels } from './sigma-schedule.ts';
import { borrowedRangeFields, checkSigmaSpacing, sigmaFields } from './sigmas.ts';
import { spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(0.00085, 0.012, 'linear', ['exp']),
  ...sigmaFields,
  ...borrowedRangeFields,
  ...clipFields(false),
  ...spacingFields('linspace'),
  prediction_type: predictionField(),
};
type Config = Values<typeof fields>;

export class HeunDiscreteScheduler extends SigmaScheduler {
  static readonly className = 'HeunDiscreteScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(HeunDiscreteScheduler.className, fields, config, file);
    const c = this.values as Config;
    checkSigmaSpacing(this.refuse, c);
    this.table = betaTable(c, this.refuse);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps, { timesteps: 'fractional' });
    if (request.kind === 'timesteps') {
      for (const key of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'] as const) {
        if (c[key])
          throw new ArgumentError(`${this.className}: custom timesteps cannot be used with ${key} true`);
      }
    }
    const single =
      request.kind === 'timesteps'
        ? levelsAt(c, this.table, request.timesteps.map(Math.fround), this.refuse)
        : spacedLevels(c, this.table, (request as { steps: number }).steps, this.refuse);
    const twice = (values: readonly number[]): number[] => values.flatMap((v) => [v, v]);
    const [firstTime, ...times] = single.timesteps;
    const [firstSigma, ...sigmas] = single.sigmas.slice(0, -1);
    const levels = {
      timesteps: [firstTime!, ...twice(times)],
      sigmas: [firstSigma!, ...twice(sigmas), single.sigmas.at(-1)!],
    };
    return new HeunSchedule(c, levels, initialSigma(c, levels.sigmas));
  }
}

class HeunSchedule extends SigmaSchedule {
  protected override readonly sequential = true;
  override readonly order = 2;
  readonly #c: Config;
  /** The first half of a step: where it began, and its derivative. */
  #first: { readonly sample: Tensor; readonly derivative: Tensor } | undefined;

  constructor(config: Config, levels: Levels, initNoiseSigma: number) {
    super(HeunDiscreteScheduler.className, levels, initNoiseSigma);
    this.#c = config;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const level = this.sigmas[i]!;
    let original = explodingOriginalTerms(this.#c.prediction_type, output, sample, level);
    if (limits(this.#c)) original = [[limitedOriginal(this.#c, original), 1]];
    const derivative = [[sample, 1 / level] as const, ...scaled(original, -1 / level)];
    const first = this.#first;
    let prevSample: Tensor;
    if (first) {
      const step = level - this.sigmas[i - 1]!;
      prevSample = combine([
        [first.sample, 1],
        [first.derivative, step / 2],
        ...scaled(derivative, step / 2),
      ]);
      this.forget(first.sample);
      this.forget(first.derivative);
      this.#first = undefined;
    } else {
      const step = this.sigmas[i + 1]! - level;
      prevSample = combine([[sample, 1], ...scaled(derivative, step)]);
      this.#first = { sample: this.remember(sample), derivative: this.remember(combine(derivative)) };
    }
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }
}
