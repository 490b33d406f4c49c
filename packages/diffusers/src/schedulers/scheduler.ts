// Base of all schedulers. A scheduler is a configuration that makes Schedules; a Schedule holds the state of one call
// (the history of a multi-step method), so that one scheduler serves many calls at once.
// Reference: diffusers' SchedulerMixin; `schedule` is its set_timesteps, but with the state outside.

import { ArgumentError, concat, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { BetaTable } from './betas.ts';
import { combine } from './combine.ts';
import { fullConfig, readConfig, refusal, withOverrides } from './config.ts';
import type { Refuse, SchedulerConfig } from './config.ts';
import type { Fields, Values } from './fields.ts';
import { mixOf } from './prediction.ts';
import type { Mix } from './prediction.ts';

export type { SchedulerConfig } from './config.ts';

/**
 * The request for a schedule: one of numInferenceSteps, timesteps and sigmas; the last two if the class supports them.
 */
export interface ScheduleOptions {
  readonly numInferenceSteps?: number;
  /** Training timesteps to visit, falling. */
  readonly timesteps?: readonly number[];
  /** Noise levels to visit, falling, with the final one. */
  readonly sigmas?: readonly number[];
  /** LCM only: the number of steps the model was distilled on; default from the config. */
  readonly originalInferenceSteps?: number;
  /** LCM only: the part of the schedule that image-to-image runs, from 0 to 1; default 1. */
  readonly strength?: number;
}

/** Options of a step; each is read by the classes named, others ignore it. */
export interface StepOptions {
  /** DDIM: 0 is deterministic, 1 adds as much noise as DDPM. */
  readonly eta?: number;
  /** Draws standard normal noise of the sample's shape; called once in each step that needs it. */
  readonly noise?: () => Tensor;
  /** True (default): returns predOriginalSample too, at the cost of one more op. */
  readonly predOriginalSample?: boolean;
  /** DDIM: recompute the noise from the clipped x0. */
  readonly useClippedModelOutput?: boolean;
  /** LMS: number of derivatives at most; default 4. */
  readonly order?: number;
  /** Euler: stochasticity (Karras et al. 2022, algorithm 2); defaults 0, 0, Infinity, 1. */
  readonly sChurn?: number;
  readonly sTmin?: number;
  readonly sTmax?: number;
  readonly sNoise?: number;
}

/** The result of a step; tensors in the sample's shape. */
export interface StepResult {
  /** The sample at the next, lower noise level. */
  readonly prevSample: Tensor;
  /**
   * The predicted clean sample (for LCM the boundary-corrected one); undefined if options.predOriginalSample is false.
   */
  readonly predOriginalSample?: Tensor;
}

/** The state of one call. Dispose it when the call ends. */
export interface Schedule {
  /** Timesteps of the model calls, in order; a predictor-corrector visits some twice. */
  readonly timesteps: readonly number[];
  /** Noise levels, with the final one; for classes that work on noise levels. */
  readonly sigmas?: readonly number[];
  /** Standard deviation that initial noise is scaled to. */
  readonly initNoiseSigma: number;
  /** Model evaluations a step (Heun: 2). */
  readonly order: number;
  /** The model's input at timesteps[i]; may be the sample itself. */
  scaleModelInput(sample: Tensor, i: number): Tensor;
  /** One step from timesteps[i]. Indices must be consecutive if the method has a history. @throws ArgumentError */
  step(modelOutput: Tensor, i: number, sample: Tensor, options?: StepOptions): StepResult;
  /** Sets the first index of image-to-image: addNoise then uses it instead of searching the timestep. */
  setBeginIndex(i: number): void;
  readonly beginIndex: number | undefined;
  /** The history: tensors that later steps read, the oldest first. */
  readonly remembered: readonly Tensor[];
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Base of all schedulers. Reference: diffusers' SchedulerMixin. */
export abstract class Scheduler<F extends Fields = Fields> {
  readonly className: string;
  /** The whole config in scheduler_config.json's form, as savePretrained writes it. */
  readonly config: SchedulerConfig;
  /** The checked values that this class uses. */
  protected readonly values: Values<F>;
  /** Throws the error of a bad value of the config. */
  protected readonly refuse: Refuse;

  /** `file` is the source of the config, for messages. */
  protected constructor(className: string, fields: F, config: SchedulerConfig, file?: string) {
    this.className = className;
    this.refuse = refusal(className, file);
    this.values = readConfig(fields, config, this.refuse);
    this.config = fullConfig(className, fields, this.values, config);
  }

  /**
   * A scheduler of this class from the config of any other (or from the scheduler itself), with some keys changed.
   * Values that were only defaults of the other class become the defaults of this one.
   */
  static fromConfig<T>(
    this: new (config: SchedulerConfig) => T,
    from: SchedulerConfig | Scheduler,
    overrides: SchedulerConfig = {},
  ): T {
    return new this(withOverrides(from instanceof Scheduler ? from.config : from, overrides));
  }

  /**
   * Makes the schedule of one call.
   * @throws ArgumentError for step counts and custom schedules that are not supported.
   */
  abstract schedule(options: ScheduleOptions): Schedule;

  /** The training table. */
  abstract readonly table: BetaTable;

  /** Number of training timesteps: models are trained on 0 … trainTimesteps - 1. */
  get trainTimesteps(): number {
    return this.table.alphasCumprod.length;
  }

  /** sample [n, ...] with noise mixed in at the level of each item's timestep (one for all, or one for each item). */
  addNoise(sample: Tensor, noise: Tensor, timesteps: readonly number[], schedule?: Schedule): Tensor {
    return mixRows(this.className, sample, noise, timesteps, (t) => {
      const { alpha, sigma } = this.mixAt(t, schedule);
      return [alpha, sigma];
    });
  }

  /** The v-prediction target alpha · noise - sigma · sample. */
  getVelocity(sample: Tensor, noise: Tensor, timesteps: readonly number[]): Tensor {
    return mixRows(this.className, sample, noise, timesteps, (t) => {
      const { alpha, sigma } = mixOf(this.product(t));
      return [-sigma, alpha];
    });
  }

  /** The mix of clean sample and noise at a timestep. */
  protected mixAt(t: number, _schedule: Schedule | undefined): Mix {
    return mixOf(this.product(t));
  }

  /** The cumulative product at a training timestep. */
  protected product(t: number): number {
    const p = this.table.alphasCumprod[t];
    if (p === undefined) {
      const last = this.table.alphasCumprod.length - 1;
      throw new ArgumentError(`${this.className}: timestep must be an integer from 0 to ${last}, got ${t}`);
    }
    return p;
  }

  toJSON(): SchedulerConfig {
    return this.config;
  }
}

/** coefficients(t) of (sample, noise) for each item of the batch; one op when they are all alike. */
function mixRows(
  className: string,
  sample: Tensor,
  noise: Tensor,
  timesteps: readonly number[],
  coefficients: (t: number) => readonly [number, number],
): Tensor {
  const n = sample.shape[0] ?? 1;
  if (timesteps.length !== 1 && timesteps.length !== n) {
    throw new ArgumentError(
      `${className}: ${timesteps.length} timesteps for a batch of ${n}; give one, or one for each item`,
    );
  }
  const mix = (x: Tensor, e: Tensor, t: number): Tensor => {
    const [a, b] = coefficients(t);
    return combine([
      [x, a],
      [e, b],
    ]);
  };
  if (timesteps.every((t) => t === timesteps[0])) return mix(sample, noise, timesteps[0]!);
  return scope(() =>
    concat(
      timesteps.map((t, i) => mix(sample.slice(0, i, i + 1), noise.slice(0, i, i + 1), t)),
      0,
    ),
  );
}
