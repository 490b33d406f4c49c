// DDPM (Ho, Jain and Abbeel 2020, arXiv 2006.11239), with fixed and learned variances (Nichol and Dhariwal 2021).

import { ArgumentError, map } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import { flag, optionalChoice } from './fields.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import {
  clipFields,
  limitedOriginal,
  limits,
  mixOf,
  originalTerms,
  predictionField,
  requireSameShape,
  thresholdFields,
  variances,
} from './prediction.ts';
import { BaseSchedule, wantsOriginal } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { checkProductsFromZero, requireSignal } from './signal.ts';
import { spacedTimesteps, spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(0.0001, 0.02, 'linear', ['sigmoid', 'laplace']),
  ...clipFields(true),
  ...thresholdFields,
  ...spacingFields('leading'),
  variance_type: optionalChoice('fixed_small', variances), // null is as good as fixed_small
  prediction_type: predictionField(),
  rescale_betas_zero_snr: flag(false),
};
type Config = Values<typeof fields>;

const f = Math.fround;
/** Keeps logarithms of variances finite. */
const leastVariance = 1e-20;

export class DDPMScheduler extends Scheduler {
  static readonly className = 'DDPMScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(DDPMScheduler.className, fields, config, file);
    const c = this.values as Config;
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps, { timesteps: true });
    const timesteps =
      request.kind === 'timesteps'
        ? request.timesteps
        : spacedTimesteps(c, (request as { steps: number }).steps, this.refuse);
    checkProductsFromZero(this.refuse, c, this.table.alphasCumprod, timesteps);
    return new DDPMSchedule(c, this.refuse, this.table.alphasCumprod, timesteps);
  }
}

class DDPMSchedule extends BaseSchedule {
  readonly #c: Config;
  readonly #refuse: Refuse;
  readonly #products: Float32Array;
  readonly #learned: boolean;

  constructor(config: Config, refuse: Refuse, products: Float32Array, timesteps: readonly number[]) {
    super(DDPMScheduler.className, timesteps);
    this.#c = config;
    this.#refuse = refuse;
    this.#products = products;
    this.#learned = config.variance_type === 'learned' || config.variance_type === 'learned_range';
  }

  /** A model with learned variance returns twice the channels. */
  protected override checkOutput(output: Tensor, sample: Tensor): void {
    if (!this.#learned) return requireSameShape(this.className, output, sample);
    if (output.shape[1] !== 2 * sample.shape[1]!) {
      throw new ArgumentError(
        `${this.className}: variance_type '${this.#c.variance_type}' needs ${2 * sample.shape[1]!} output channels, got ${output.shape[1]}`,
      );
    }
  }

  protected override advance(full: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const c = this.#c;
    const t = this.timesteps[i]!;
    const last = i === this.timesteps.length - 1;
    const now = this.#products[t]!;
    requireSignal(this.#refuse, c, now, t);
    const previous = last ? 1 : this.#products[this.timesteps[i + 1]!]!;
    // In float32 like diffusers: near timestep 0 beta is the small difference of two rounded numbers.
    const alpha = f(now / previous);
    const [beta, noiseNow, noisePrevious] = [f(1 - alpha), f(1 - now), f(1 - previous)];
    const [output, predicted] = this.#learned ? (full.chunk(2, 1) as [Tensor, Tensor]) : [full];

    let original = originalTerms(c.prediction_type, output, sample, mixOf(now));
    if (limits(c)) original = [[limitedOriginal(c, original), 1]];
    const mean = [
      ...scaled(original, f(f(f(Math.sqrt(previous)) * beta) / noiseNow)),
      [sample, f(f(f(Math.sqrt(alpha)) * noisePrevious) / noiseNow)] as const,
    ];
    const small = Math.max(f(f(noisePrevious / noiseNow) * beta), leastVariance);
    let prevSample: Tensor;
    if (t === 0) prevSample = combine(mean);
    else if (predicted)
      prevSample = combine([...mean, [this.#learnedNoise(predicted, small, beta, options), 1]]);
    else {
      const variance = c.variance_type?.startsWith('fixed_large') ? beta : small;
      prevSample = combine([...mean, [this.drawNoise(options), Math.sqrt(variance)]]);
    }
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }

  /** Noise with the standard deviation that the model predicts, element by element. */
  #learnedNoise(predicted: Tensor, small: number, large: number, options: StepOptions): Tensor {
    const noise = this.drawNoise(options);
    if (this.#c.variance_type === 'learned') {
      return map(['mul', ['sqrt', ['max', ['in', 0], 0]], ['in', 1]], [predicted, noise], {
        dtype: noise.dtype,
      });
    }
    // The prediction, from -1 to 1, interpolates between the logarithms of the smallest and largest variance.
    const [low, high] = [Math.log(small), Math.log(Math.max(large, leastVariance))];
    return map(
      ['mul', ['exp', ['add', ['scalar', 0], ['mul', ['scalar', 1], ['in', 0]]]], ['in', 1]],
      [predicted, noise],
      { scalars: [(high + low) / 4, (high - low) / 4], dtype: noise.dtype },
    );
  }
}
