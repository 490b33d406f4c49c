// Multi-step sampling of latent consistency models (Luo et al. 2023, arXiv 2310.04378): each step jumps to x0 and
// adds noise for the next, on a subset of the timesteps that the model was distilled on.

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import { flag, integer, number } from './fields.ts';
import type { Values } from './fields.ts';
import { linspace } from './numeric.ts';
import { readRequest } from './options.ts';
import {
  clipFields,
  limitedOriginal,
  limits,
  mixOf,
  originalTerms,
  predictionField,
  thresholdFields,
} from './prediction.ts';
import { BaseSchedule, wantsOriginal } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { checkProductsFromZero, requireSignal } from './signal.ts';
import { spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(0.00085, 0.012, 'scaled_linear'),
  ...clipFields(false),
  ...thresholdFields,
  ...spacingFields('leading'),
  original_inference_steps: integer(50, 1),
  set_alpha_to_one: flag(true),
  prediction_type: predictionField(),
  timestep_scaling: number(10),
  rescale_betas_zero_snr: flag(false),
};
type Config = Values<typeof fields>;

/** Standard deviation of the data that the boundary conditions assume. */
const sigmaData = 0.5;

export class LCMScheduler extends Scheduler {
  static readonly className = 'LCMScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(LCMScheduler.className, fields, config, file);
    const c = this.values as Config;
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps, { timesteps: true });
    const timesteps =
      request.kind === 'timesteps'
        ? request.timesteps
        : this.#distilledTimesteps(c, (request as { steps: number }).steps, options);
    checkProductsFromZero(this.refuse, c, this.table.alphasCumprod, timesteps);
    return new LCMSchedule(c, this.refuse, this.table.alphasCumprod, timesteps);
  }

  /** n of the timesteps used in distillation, evenly chosen from the top. */
  #distilledTimesteps(c: Config, n: number, options: ScheduleOptions): number[] {
    const { originalInferenceSteps: original = c.original_inference_steps, strength = 1 } = options;
    if (options.originalInferenceSteps === undefined && original > c.num_train_timesteps) {
      this.refuse(
        `original_inference_steps must be at most num_train_timesteps ${c.num_train_timesteps}, got ${original}`,
      );
    }
    if (!Number.isInteger(original) || original < 1 || original > c.num_train_timesteps) {
      throw new ArgumentError(
        `${this.className}: originalInferenceSteps must be an integer from 1 to num_train_timesteps ${c.num_train_timesteps}, got ${original}`,
      );
    }
    if (!(strength > 0 && strength <= 1))
      throw new ArgumentError(`${this.className}: strength must be above 0 and at most 1, got ${strength}`);
    const stride = Math.floor(c.num_train_timesteps / original);
    const count = Math.floor(original * strength);
    if (n > count) {
      throw new ArgumentError(
        `${this.className}: numInferenceSteps must be at most ${count} (original_inference_steps ${original}, strength ${strength}), got ${n}`,
      );
    }
    const distilled = Array.from({ length: count }, (_, i) => (count - i) * stride - 1);
    return linspace(0, count, n, false).map((i) => distilled[Math.floor(i)]!);
  }
}

class LCMSchedule extends BaseSchedule {
  readonly #c: Config;
  readonly #refuse: Refuse;
  readonly #products: Float32Array;

  constructor(config: Config, refuse: Refuse, products: Float32Array, timesteps: readonly number[]) {
    super(LCMScheduler.className, timesteps);
    this.#c = config;
    this.#refuse = refuse;
    this.#products = products;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const c = this.#c;
    const t = this.timesteps[i]!;
    const now = this.#products[t]!;
    requireSignal(this.#refuse, c, now, t);
    let original = originalTerms(c.prediction_type, output, sample, mixOf(now));
    if (limits(c)) original = [[limitedOriginal(c, original), 1]];
    // Boundary conditions: at timestep 0 the sample is its own x0.
    const x = t * c.timestep_scaling;
    const skip = (sigmaData * sigmaData) / (x * x + sigmaData * sigmaData);
    const out = x / Math.sqrt(x * x + sigmaData * sigmaData);
    const denoised = [[sample, skip] as const, ...scaled(original, out)];
    const last = i === this.timesteps.length - 1;
    const { alpha, sigma } = last ? { alpha: 1, sigma: 0 } : mixOf(this.#products[this.timesteps[i + 1]!]!);
    const prevSample = combine(
      last ? denoised : [...scaled(denoised, alpha), [this.drawNoise(options), sigma]],
    );
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(denoised) }) };
  }
}
