// Linear multi-step over sigmas, as in k-diffusion: derivatives of earlier steps, weighted by the integrals of their
// Lagrange polynomials. Reference: Katherine Crowson's k-diffusion (behaviour through diffusers).

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import { explodingOriginalTerms, predictionField } from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { initialSigma, SigmaSchedule, SigmaScheduler, spacedLevels } from './sigma-schedule.ts';
import type { Levels } from './sigma-schedule.ts';
import { borrowedRangeFields, checkSigmaSpacing, sigmaFields } from './sigmas.ts';
import { checkFalling } from './signal.ts';
import { spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(),
  ...sigmaFields,
  ...borrowedRangeFields,
  ...spacingFields('linspace'),
  prediction_type: predictionField(),
};
type Config = Values<typeof fields>;

export class LMSDiscreteScheduler extends SigmaScheduler {
  static readonly className = 'LMSDiscreteScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(LMSDiscreteScheduler.className, fields, config, file);
    const c = this.values as Config;
    checkSigmaSpacing(this.refuse, c);
    this.table = betaTable(c, this.refuse);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps);
    const { steps } = request as { steps: number };
    // Karras sigmas always span the schedule's own range here; the other spacings read the config's.
    const range = c.use_karras_sigmas ? { sigma_min: null, sigma_max: null } : {};
    const levels = spacedLevels({ ...c, ...range }, this.table, steps, this.refuse);
    checkFalling(this.refuse, c, levels.sigmas);
    return new LMSSchedule(c, levels, initialSigma(c, levels.sigmas));
  }
}

class LMSSchedule extends SigmaSchedule {
  protected override readonly sequential = true;
  readonly #c: Config;
  /** The newest last. */
  readonly #derivatives: Tensor[] = [];

  constructor(config: Config, levels: Levels, initNoiseSigma: number) {
    super(LMSDiscreteScheduler.className, levels, initNoiseSigma);
    this.#c = config;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const { order: most = 4 } = options;
    if (!Number.isInteger(most) || most < 1 || most > 8) {
      throw new ArgumentError(`${this.className}: order must be an integer from 1 to 8, got ${most}`);
    }
    const sigma = this.sigmas[i]!;
    const original = explodingOriginalTerms(this.#c.prediction_type, output, sample, sigma);
    this.push(this.#derivatives, combine([[sample, 1 / sigma], ...scaled(original, -1 / sigma)]), most);
    // The order follows the place in the schedule even when a run that started late has fewer derivatives.
    const order = Math.min(i + 1, most);
    const weights = Array.from({ length: order }, (_, k) => this.#weight(order, i, k));
    const history = [...this.#derivatives].reverse();
    const prevSample = combine([
      [sample, 1],
      ...history.slice(0, order).map((d, k) => [d, weights[k]!] as const),
    ]);
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }

  /** ∫ of the Lagrange polynomial of the k-th newest sigma, from this step's sigma to the next one's. */
  #weight(order: number, i: number, k: number): number {
    const at = (j: number): number => this.sigmas[i - j]!;
    const [from, to] = [this.sigmas[i]!, this.sigmas[i + 1]!];
    const half = (to - from) / 2;
    let sum = 0;
    for (const [node, weight] of gauss) {
      const x = from + half * (1 + node);
      let product = 1;
      for (let j = 0; j < order; j++) if (j !== k) product *= (x - at(j)) / (at(k) - at(j));
      sum += weight * product;
    }
    return half * sum;
  }
}

/** Gauss-Legendre with 4 points: exact for the polynomials of degree up to 7 that occur. */
const gauss = [
  [-0.8611363115940526, 0.3478548451374538],
  [-0.33998104358485626, 0.6521451548625461],
  [0.33998104358485626, 0.6521451548625461],
  [0.8611363115940526, 0.3478548451374538],
] as const;
