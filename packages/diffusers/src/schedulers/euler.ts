// Euler's method over sigmas, with optional churn (Karras et al. 2022, arXiv 2206.00364, algorithm 2 without the
// second-order correction, which is Heun's).

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { Terms } from './combine.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import { choice, flag } from './fields.ts';
import type { Values } from './fields.ts';
import { linspace } from './numeric.ts';
import { readRequest } from './options.ts';
import { explodingOriginalTerms, predictionField } from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { initialSigma, levelsAt, SigmaSchedule, SigmaScheduler } from './sigma-schedule.ts';
import type { Levels } from './sigma-schedule.ts';
import {
  checkSigmaSpacing,
  sigmaFields,
  sigmaRangeFields,
  spacedSigmas,
  timestepOf,
  trainSigmas,
  withFinal,
} from './sigmas.ts';
import { checkLevels } from './signal.ts';
import { spacedTimesteps, spacingFields } from './spacing.ts';
import { velocityStep } from './velocity-step.ts';

const fields = {
  ...betaFields(),
  ...sigmaFields,
  ...sigmaRangeFields,
  ...spacingFields('linspace'),
  prediction_type: predictionField(undefined, { original_sample: 'sample' }),
  interpolation_type: choice('linear', ['linear', 'log_linear']),
  timestep_type: choice('discrete', ['discrete', 'continuous']),
  rescale_betas_zero_snr: flag(false),
  final_sigmas_type: choice('zero', ['zero', 'sigma_min']),
};
type Config = Values<typeof fields>;

export class EulerDiscreteScheduler extends SigmaScheduler {
  static readonly className = 'EulerDiscreteScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(EulerDiscreteScheduler.className, fields, config, file);
    const c = this.values as Config;
    checkSigmaSpacing(this.refuse, c);
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr, 2 ** -24);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const levels = this.#levels(c, options);
    return new EulerSchedule(c, levels, initialSigma(c, levels.sigmas));
  }

  #levels(c: Config, options: ScheduleOptions): Levels {
    const train = trainSigmas(this.table.alphasCumprod);
    const request = readRequest(this.className, options, c.num_train_timesteps, {
      timesteps: 'fractional',
      sigmas: true,
    });
    if (request.kind === 'timesteps') this.#refuseCustomTimesteps(c);
    const final = c.final_sigmas_type === 'zero' ? 0 : train[0]!;
    let levels: Levels;
    if (request.kind === 'sigmas') {
      const sigmas = request.sigmas.map(Math.fround);
      levels = { timesteps: sigmas.slice(0, -1).map((s) => Math.fround(timestepOf(s, train))), sigmas };
    } else {
      const timesteps =
        request.kind === 'timesteps'
          ? request.timesteps.map(Math.fround)
          : spacedTimesteps(c, request.steps, this.refuse, true);
      levels =
        c.interpolation_type === 'linear'
          ? levelsAt(c, this.table, timesteps, this.refuse, final)
          : logLinear(c, train, timesteps, final, this.refuse);
    }
    if (c.timestep_type !== 'continuous' || c.prediction_type !== 'v_prediction') return levels;
    // As many as there are steps: log_linear has a level more.
    const steps = levels.sigmas.slice(0, levels.timesteps.length);
    return { ...levels, timesteps: steps.map((s) => Math.fround(0.25 * Math.log(s))) };
  }

  #refuseCustomTimesteps(c: Config): void {
    for (const key of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'] as const) {
      if (c[key])
        throw new ArgumentError(`${this.className}: custom timesteps cannot be used with ${key} true`);
    }
    if (c.timestep_type === 'continuous' && c.prediction_type === 'v_prediction') {
      throw new ArgumentError(
        `${this.className}: custom timesteps cannot be used with timestep_type 'continuous' and 'v_prediction'`,
      );
    }
  }
}

/** Sigmas spaced evenly in their logarithm: one more than there are timesteps, before the final one. */
function logLinear(
  c: Config,
  train: Float32Array,
  timesteps: readonly number[],
  final: number,
  refuse: Refuse,
): Levels {
  const n = timesteps.length;
  checkLevels(refuse, c, { timesteps: [0, train.length - 1], sigmas: [train[0]!, train.at(-1)!, 0] });
  const sigmas = linspace(Math.log(train.at(-1)!), Math.log(train[0]!), n + 1).map(Math.exp);
  const spaced = spacedSigmas(c, sigmas, n, refuse);
  if (!spaced) return { timesteps, sigmas: withFinal(sigmas, final) };
  return {
    timesteps: spaced.map((s) => Math.fround(timestepOf(s, train))),
    sigmas: withFinal(spaced, final),
  };
}

class EulerSchedule extends SigmaSchedule {
  readonly #c: Config;

  constructor(config: Config, levels: Levels, initNoiseSigma: number) {
    super(EulerDiscreteScheduler.className, levels, initNoiseSigma);
    this.#c = config;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const { sChurn = 0, sTmin = 0, sTmax = Infinity, sNoise = 1 } = options;
    const sigma = this.sigmas[i]!;
    const churns = sigma >= sTmin && sigma <= sTmax;
    const gamma = churns ? Math.min(sChurn / (this.sigmas.length - 1), Math.SQRT2 - 1) : 0;
    const raised = sigma * (gamma + 1);
    let noisy = sample;
    if (gamma > 0) {
      noisy = combine([
        [sample, 1],
        [this.drawNoise(options), sNoise * Math.sqrt(raised * raised - sigma * sigma)],
      ]);
    }
    const type = this.#c.prediction_type;
    // The noise prediction belongs to the raised level, the v-prediction's coefficients to the level itself.
    const original: Terms = explodingOriginalTerms(type, output, noisy, type === 'epsilon' ? raised : sigma);
    const step = this.sigmas[i + 1]! - raised;
    const prevSample =
      type === 'v_prediction'
        ? velocityStep(noisy, output, { level: sigma, divisor: raised, step })
        : combine([[noisy, 1 + step / raised], ...scaled(original, -step / raised)]);
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }
}
