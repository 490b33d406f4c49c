// PNDM (Liu et al. 2022, arXiv 2202.09778): linear multi-step, optionally started by Runge-Kutta steps.
// With skip_prk_steps the second timestep is visited twice, as a predictor-corrector pair, so n steps make n + 1.
// The pair is known by counting calls, not by timestep: image-to-image applies it to its own second call.

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { Terms } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import { flag } from './fields.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import { predictionField } from './prediction.ts';
import { BaseSchedule, wantsOriginal } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { checkProducts } from './signal.ts';
import { spacedTimesteps, spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(),
  ...spacingFields('leading'),
  skip_prk_steps: flag(false),
  set_alpha_to_one: flag(false),
  prediction_type: predictionField(['epsilon', 'v_prediction']),
};
type Config = Values<typeof fields>;

/** Adams-Bashforth coefficients, the newest output first. */
const multistep = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
] as const;
/** Timesteps that the Runge-Kutta start takes from the plan, and model calls for each. */
const startSteps = 3;
const startCalls = 4;

export class PNDMScheduler extends Scheduler {
  static readonly className = 'PNDMScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(PNDMScheduler.className, fields, config, file);
    this.table = betaTable(this.values as Config, this.refuse);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps);
    const steps = (request as { steps: number }).steps;
    if (!c.skip_prk_steps && steps < startSteps + 1) {
      throw new ArgumentError(
        `${this.className}: numInferenceSteps must be at least ${startSteps + 1} with skip_prk_steps false, got ${steps}`,
      );
    }
    const plain = spacedTimesteps(c, steps, this.refuse);
    checkProducts(this.refuse, c, this.table.alphasCumprod, plain);
    return new PNDMSchedule(c, this.table.alphasCumprod, plain);
  }
}

class PNDMSchedule extends BaseSchedule {
  protected override readonly sequential = true;
  readonly #c: Config;
  readonly #products: Float32Array;
  readonly #stride: number;
  readonly #startTimesteps: readonly number[];
  #calls = 0;
  readonly #outputs: Tensor[] = [];
  #startSample: Tensor | undefined;
  /** Weighted outputs of the Runge-Kutta step under way. */
  #sum: Terms = [];

  constructor(config: Config, products: Float32Array, plain: readonly number[]) {
    const stride = Math.floor(config.num_train_timesteps / plain.length);
    const start = config.skip_prk_steps ? [] : rungeKuttaTimesteps(plain, Math.floor(stride / 2));
    const rest = config.skip_prk_steps
      ? [plain[0]!, ...plain.slice(1, 2), ...plain.slice(1)]
      : plain.slice(startSteps);
    super(PNDMScheduler.className, [...start, ...rest]);
    this.#c = config;
    this.#products = products;
    this.#stride = stride;
    this.#startTimesteps = start;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const t = this.timesteps[i]!;
    const calls = this.#calls++;
    const inStart = calls < this.#startTimesteps.length;
    const prevSample = inStart
      ? this.#start(output, t, sample, calls)
      : this.#multistep(output, t, sample, calls);
    return {
      prevSample,
      ...(wantsOriginal(options) && { predOriginalSample: this.#original(output, t, sample) }),
    };
  }

  /** Four calls make one Runge-Kutta step; each weighs its output by 1/6, 1/3, 1/3, 1/6. */
  #start(output: Tensor, t: number, sample: Tensor, calls: number): Tensor {
    const phase = calls % startCalls;
    const previous = t - (phase % 2 === 1 ? 0 : Math.floor(this.#stride / 2));
    const from = this.#startTimesteps[calls - phase]!;
    if (phase === 0) {
      this.push(this.#outputs, output, 4);
      this.#dropStart();
      this.#startSample = this.remember(sample);
    }
    const weight = phase === 0 || phase === 3 ? 1 / 6 : 1 / 3;
    const base = this.#startSample ?? sample;
    if (phase < 3) {
      this.#sum = [...this.#sum, [this.remember(output), weight]];
      return this.#move(base, from, previous, [[output, 1]]);
    }
    const total: Terms = [...this.#sum, [output, weight]];
    const moved = this.#move(base, from, previous, total);
    for (const [tensor] of this.#sum) this.forget(tensor);
    this.#sum = [];
    return moved;
  }

  #multistep(output: Tensor, t: number, sample: Tensor, calls: number): Tensor {
    if (calls !== 1) this.#dropStart();
    if (calls === 1 && this.#startTimesteps.length === 0) {
      // The corrector: the first step again, with the mean of both outputs.
      const base = this.#startSample ?? sample;
      const first = this.#outputs.at(-1);
      const mean: Terms = first
        ? [
            [output, 1 / 2],
            [first, 1 / 2],
          ]
        : [[output, 1]];
      const moved = this.#move(base, t + this.#stride, t, mean);
      this.#dropStart();
      return moved;
    }
    this.push(this.#outputs, output, 4);
    if (this.#outputs.length === 1) this.#startSample = this.remember(sample);
    const weights = multistep[this.#outputs.length - 1]!;
    const terms: Terms = weights.map((w, k) => [this.#outputs.at(-1 - k)!, w]);
    return this.#move(sample, t, t - this.#stride, terms);
  }

  #dropStart(): void {
    this.forget(this.#startSample);
    this.#startSample = undefined;
  }

  /** Formula (9) of the paper: from timestep `t` to `previous` along an output. */
  #move(sample: Tensor, t: number, previous: number, output: Terms): Tensor {
    const now = this.#product(t);
    const next = previous >= 0 ? this.#product(previous) : this.#c.set_alpha_to_one ? 1 : this.#product(0);
    const slope = (next - now) / (now * Math.sqrt(1 - next) + Math.sqrt(now * (1 - now) * next));
    return combine([[sample, Math.sqrt(next / now)], ...scaled(this.#noise(output, sample, now), -slope)]);
  }

  #noise(output: Terms, sample: Tensor, now: number): Terms {
    if (this.#c.prediction_type === 'epsilon') return output;
    return [...scaled(output, Math.sqrt(now)), [sample, Math.sqrt(1 - now)]];
  }

  #original(output: Tensor, t: number, sample: Tensor): Tensor {
    const now = this.#product(t);
    const noise = this.#noise([[output, 1]], sample, now);
    return combine([[sample, 1 / Math.sqrt(now)], ...scaled(noise, -Math.sqrt(1 - now) / Math.sqrt(now))]);
  }

  /** The corrector may look one stride above the first timestep, past the end of the table: the last entry stands in. */
  #product(t: number): number {
    return this.#products[Math.min(t, this.#products.length - 1)]!;
  }
}

/** Twelve calls over the first four timesteps: each of three steps from t to t - stride by way of t - half, twice. */
function rungeKuttaTimesteps(plain: readonly number[], half: number): number[] {
  const rising = plain.slice(0, 4).reverse();
  const doubled = rising.flatMap((t) => [t, t + half]);
  const repeated = doubled.slice(0, -1).flatMap((t) => [t, t]);
  return repeated.slice(1, -1).reverse();
}
