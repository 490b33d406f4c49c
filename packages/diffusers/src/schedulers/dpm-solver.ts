// DPM-Solver and DPM-Solver++ as multi-step methods of order 1 to 3, and their SDE variants
// (Lu et al. 2022, arXiv 2206.00927 and 2211.01095). Coefficients are in dpm-coefficients.ts.

import { ArgumentError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import { dpmCoefficients } from './dpm-coefficients.ts';
import type { DpmAlgorithm, DpmSolver } from './dpm-coefficients.ts';
import { choice, flag, integer, number, optionalChoice } from './fields.ts';
import type { Values } from './fields.ts';
import { roundHalfEven } from './numeric.ts';
import { readRequest } from './options.ts';
import {
  limitedOriginal,
  noiseTerms,
  originalTerms,
  predictionField,
  requireSameShape,
  thresholdFields,
  variances,
} from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import type { Levels } from './sigma-schedule.ts';
import {
  borrowedRangeFields,
  checkSigmaSpacing,
  luSigmas,
  sigmaAt,
  sigmaFields,
  spacedSigmas,
  timestepOf,
  trainSigmas,
  withFinal,
} from './sigmas.ts';
import { checkSolverLevels, solverFields, SolverSchedule, SolverScheduler } from './solver-schedule.ts';
import { solverTimesteps, spacingFields } from './spacing.ts';

const fields = {
  ...betaFields(),
  ...sigmaFields,
  ...borrowedRangeFields,
  ...thresholdFields,
  ...spacingFields('linspace'),
  ...solverFields,
  solver_order: integer(2, 1),
  prediction_type: predictionField(),
  algorithm_type: choice<DpmAlgorithm>(
    'dpmsolver++',
    ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'],
    {
      deis: 'dpmsolver++',
    },
  ),
  solver_type: choice<DpmSolver>('midpoint', ['midpoint', 'heun'], {
    logrho: 'midpoint',
    bh1: 'midpoint',
    bh2: 'midpoint',
  }),
  euler_at_final: flag(false),
  use_lu_lambdas: flag(false),
  lambda_min_clipped: number(-Infinity, -Infinity),
  variance_type: optionalChoice(null, variances),
  use_dynamic_shifting: flag(false), // without effect where nothing is shifted
};
type Config = Values<typeof fields>;

/** Runs shorter than this use lower orders in their last steps. */
const shortRun = 15;

export class DPMSolverMultistepScheduler extends SolverScheduler {
  static readonly className = 'DPMSolverMultistepScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(DPMSolverMultistepScheduler.className, fields, config, file);
    const c = this.values as Config;
    checkSigmaSpacing(this.refuse, c);
    const { algorithm_type: algorithm } = c;
    if (c.solver_order > 3) this.refuse(`solver_order must be 1, 2 or 3, got ${c.solver_order}`);
    if (!algorithm.endsWith('++') && c.final_sigmas_type === 'zero')
      this.refuse(`final_sigmas_type must be 'sigma_min' for algorithm_type '${algorithm}', got 'zero'`);
    if (algorithm === 'sde-dpmsolver' && c.solver_order === 3)
      this.refuse(`solver_order must be 1 or 2 for algorithm_type 'sde-dpmsolver', got 3`);
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr, 2 ** -24);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    return new DpmSchedule(c, checkSolverLevels(this.refuse, c, this.#levels(c, options)));
  }

  #levels(c: Config, options: ScheduleOptions): Levels {
    const train = trainSigmas(this.table.alphasCumprod);
    const request = readRequest(this.className, options, c.num_train_timesteps, { timesteps: true });
    const final = c.final_sigmas_type === 'zero' ? 0 : train[0]!;
    if (request.kind === 'timesteps') {
      for (const key of [
        'use_karras_sigmas',
        'use_lu_lambdas',
        'use_exponential_sigmas',
        'use_beta_sigmas',
      ] as const) {
        if (c[key])
          throw new ArgumentError(`${this.className}: custom timesteps cannot be used with ${key} true`);
      }
    }
    const n = request.kind === 'timesteps' ? request.timesteps.length : (request as { steps: number }).steps;
    const lu = c.use_lu_lambdas && !c.use_karras_sigmas;
    const spaced = lu ? luSigmas(train, n) : spacedSigmas(c, train.toReversed(), n, this.refuse);
    if (spaced) {
      const rounds = (lu || c.use_karras_sigmas) && c.beta_schedule !== 'squaredcos_cap_v2';
      // Timesteps become integers: by rounding for Karras and Lu sigmas, by dropping the fraction for the others.
      const timesteps = spaced.map((s) => timestepOf(s, train)).map(rounds ? roundHalfEven : Math.trunc);
      return { timesteps, sigmas: withFinal(spaced, final) };
    }
    const timesteps =
      request.kind === 'timesteps'
        ? request.timesteps
        : solverTimesteps(c, n, this.refuse, this.#lastTimestep(c, n));
    return {
      timesteps,
      sigmas: withFinal(
        timesteps.map((t) => sigmaAt(t, train)),
        final,
      ),
    };
  }

  /** Training steps whose log signal-to-noise ratio is not below lambda_min_clipped. */
  #lastTimestep(c: Config, n: number): number {
    const clipped = this.table.alphasCumprod.filter(
      (p) => 0.5 * Math.log(p / (1 - p)) < c.lambda_min_clipped,
    );
    const left = c.num_train_timesteps - clipped.length;
    if (left < n)
      this.refuse(`lambda_min_clipped ${c.lambda_min_clipped} leaves ${left} timesteps for ${n} steps`);
    return left;
  }
}

class DpmSchedule extends SolverSchedule {
  readonly #c: Config;
  readonly #stochastic: boolean;
  readonly #learned: boolean;
  /** Converted outputs, the newest last. */
  readonly #outputs: Tensor[] = [];

  constructor(config: Config, levels: Levels) {
    super(DPMSolverMultistepScheduler.className, levels);
    this.#c = config;
    this.#stochastic = config.algorithm_type.startsWith('sde-');
    this.#learned = config.variance_type?.startsWith('learned') === true;
  }

  /** With learned variance only the first half of the channels, the mean, is used. */
  protected override checkOutput(output: Tensor, sample: Tensor): void {
    if (!this.#learned || output.shape[1] === sample.shape[1])
      return requireSameShape(this.className, output, sample);
    if (output.shape[1] !== 2 * sample.shape[1]!) {
      throw new ArgumentError(
        `${this.className}: variance_type '${this.#c.variance_type}' needs ${2 * sample.shape[1]!} output channels, got ${output.shape[1]}`,
      );
    }
  }

  protected override advance(full: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const output = full.shape[1] === sample.shape[1] ? full : full.slice(1, 0, sample.shape[1]!);
    const converted = this.#convert(output, i, sample);
    this.push(this.#outputs, converted, this.#c.solver_order);
    const noise = this.#stochastic ? this.drawNoise(options) : undefined;
    const order = this.#orderAt(i);
    this.calls++;
    const levels = Array.from({ length: order + 1 }, (_, k) => this.level(i + 1 - k));
    const { algorithm_type: algorithm, solver_type: solver } = this.#c;
    const coefficients = dpmCoefficients(algorithm, solver, levels);
    const prevSample = combine([
      [sample, coefficients.sample],
      ...coefficients.outputs.map((w, k) => [this.#outputs.at(-1 - k)!, w] as const),
      ...(noise ? ([[noise, coefficients.noise]] as const) : []),
    ]);
    if (!wantsOriginal(options)) return { prevSample };
    const isOriginal = algorithm.endsWith('++');
    return { prevSample, predOriginalSample: isOriginal ? converted : this.#original(output, i, sample) };
  }

  #orderAt(i: number): number {
    const c = this.#c;
    const left = this.timesteps.length - 1 - i;
    const short = c.lower_order_final && this.timesteps.length < shortRun;
    if (this.calls < 1 || (left === 0 && (c.euler_at_final || short || c.final_sigmas_type === 'zero')))
      return 1;
    return Math.min(c.solver_order, this.calls + 1, left === 1 && short ? 2 : 3);
  }

  /** The output as x0 for the ++ algorithms, as noise for the others. */
  #convert(output: Tensor, i: number, sample: Tensor): Tensor {
    const c = this.#c;
    const level = this.level(i);
    if (c.algorithm_type.endsWith('++')) return this.#original(output, i, sample);
    if (!c.thresholding) return combine(noiseTerms(c.prediction_type, output, sample, level));
    const original = this.#original(output, i, sample);
    return combine([[sample, 1 / level.sigma], ...scaled([[original, 1]], -level.alpha / level.sigma)]);
  }

  #original(output: Tensor, i: number, sample: Tensor): Tensor {
    return limitedOriginal(this.#c, originalTerms(this.#c.prediction_type, output, sample, this.level(i)));
  }
}
