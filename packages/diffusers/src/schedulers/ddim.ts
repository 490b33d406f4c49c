// DDIM (Song, Meng and Ermon 2020, arXiv 2010.02502): deterministic for eta 0, DDPM-like for eta 1.

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { Terms } from './combine.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import { flag } from './fields.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import {
  clipFields,
  limitedOriginal,
  limits,
  mixOf,
  noiseTerms,
  originalTerms,
  predictionField,
  thresholdFields,
} from './prediction.ts';
import { BaseSchedule, wantsOriginal } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { checkProductsFromZero, requireSignal } from './signal.ts';
import { spacedTimesteps, spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(),
  ...clipFields(true),
  ...thresholdFields,
  ...spacingFields('leading'),
  set_alpha_to_one: flag(true),
  prediction_type: predictionField(),
  rescale_betas_zero_snr: flag(false),
};
type Config = Values<typeof fields>;

const f = Math.fround;

export class DDIMScheduler extends Scheduler {
  static readonly className = 'DDIMScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(DDIMScheduler.className, fields, config, file);
    const c = this.values as Config;
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps);
    const { steps } = request as { steps: number };
    const timesteps = spacedTimesteps(c, steps, this.refuse);
    const stride = Math.floor(c.num_train_timesteps / steps);
    const before = timesteps.map((t) => t - stride).filter((t) => t >= 0);
    if (!c.set_alpha_to_one) before.push(0);
    checkProductsFromZero(this.refuse, c, this.table.alphasCumprod, [...timesteps, ...before]);
    return new DDIMSchedule(c, this.refuse, this.table.alphasCumprod, timesteps, stride);
  }
}

class DDIMSchedule extends BaseSchedule {
  readonly #c: Config;
  readonly #refuse: Refuse;
  readonly #products: Float32Array;
  readonly #stride: number;

  constructor(
    config: Config,
    refuse: Refuse,
    products: Float32Array,
    timesteps: readonly number[],
    stride: number,
  ) {
    super(DDIMScheduler.className, timesteps);
    this.#c = config;
    this.#refuse = refuse;
    this.#products = products;
    this.#stride = stride;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const c = this.#c;
    const { eta = 0 } = options;
    if (!(eta >= 0 && eta <= 1))
      throw new ArgumentError(`${this.className}: eta must be from 0 to 1, got ${eta}`);
    const t = this.timesteps[i]!;
    const before = t - this.#stride;
    const now = this.#products[t]!;
    requireSignal(this.#refuse, c, now, t);
    const previous = before >= 0 ? this.#products[before]! : c.set_alpha_to_one ? 1 : this.#products[0]!;
    const mix = mixOf(now);

    let original: Terms = originalTerms(c.prediction_type, output, sample, mix);
    let noise: Terms = noiseTerms(c.prediction_type, output, sample, mix);
    if (limits(c)) {
      original = [[limitedOriginal(c, original), 1]];
      if (options.useClippedModelOutput)
        noise = [[sample, 1 / mix.sigma], ...scaled(original, -mix.alpha / mix.sigma)];
    }
    // In float32 like diffusers: near timestep 0 these are small differences of rounded numbers.
    const variance = f(f(f(1 - previous) / f(1 - now)) * f(1 - f(now / previous)));
    const deviation = f(eta * f(Math.sqrt(Math.max(0, variance))));
    const direction = Math.sqrt(Math.max(0, f(f(1 - previous) - f(deviation * deviation))));
    const prevSample = combine([
      ...scaled(original, Math.sqrt(previous)),
      ...scaled(noise, direction),
      ...(eta > 0 ? ([[this.drawNoise(options), deviation]] as const) : []),
    ]);
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }
}
