// UniPC (Zhao et al. 2023, arXiv 2302.04867): a multi-step predictor, and a corrector that improves each sample once
// the model has seen it, at no extra model call.

import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine } from './combine.ts';
import type { Term } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import { choice, flag, integer, integers, mustBeFalse, mustBeNull } from './fields.ts';
import type { Values } from './fields.ts';
import { roundHalfEven, solve } from './numeric.ts';
import { readRequest } from './options.ts';
import {
  limitedOriginal,
  noiseTerms,
  originalTerms,
  predictionField,
  thresholdFields,
} from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import type { Levels } from './sigma-schedule.ts';
import {
  checkSigmaSpacing,
  sigmaAt,
  sigmaFields,
  sigmaRangeFields,
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
  ...sigmaRangeFields,
  ...thresholdFields,
  ...spacingFields('linspace'),
  ...solverFields,
  solver_order: integer(2, 1, 10), // more would solve systems too near singular
  prediction_type: predictionField(),
  predict_x0: flag(true),
  solver_type: choice('bh2', ['bh1', 'bh2'], { midpoint: 'bh2', heun: 'bh2', logrho: 'bh2' }),
  disable_corrector: integers(),
  solver_p: mustBeNull(),
  use_dynamic_shifting: mustBeFalse(),
  shift_terminal: mustBeNull(),
};
type Config = Values<typeof fields>;

export class UniPCMultistepScheduler extends SolverScheduler {
  static readonly className = 'UniPCMultistepScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(UniPCMultistepScheduler.className, fields, config, file);
    const c = this.values as Config;
    checkSigmaSpacing(this.refuse, c);
    // The last step towards sigma 0 has an infinite length, over which only a prediction of x0 stays finite.
    if (c.final_sigmas_type === 'zero' && !c.predict_x0)
      this.refuse(`final_sigmas_type must be 'sigma_min' with predict_x0 false, got 'zero'`);
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr, 2 ** -24);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps);
    const levels = this.#levels(c, (request as { steps: number }).steps);
    return new UniPCSchedule(c, checkSolverLevels(this.refuse, c, levels));
  }

  #levels(c: Config, n: number): Levels {
    const train = trainSigmas(this.table.alphasCumprod);
    const spaced = spacedSigmas(c, train.toReversed(), n, this.refuse);
    if (spaced) {
      const final = c.final_sigmas_type === 'zero' ? 0 : spaced.at(-1)!;
      // Timesteps become integers: by rounding for Karras sigmas, by dropping the fraction for the others.
      const integer = c.use_karras_sigmas ? roundHalfEven : Math.trunc;
      return {
        timesteps: spaced.map((s) => integer(timestepOf(s, train))),
        sigmas: withFinal(spaced, final),
      };
    }
    const timesteps = solverTimesteps(c, n, this.refuse);
    const final = c.final_sigmas_type === 'zero' ? 0 : train[0]!;
    return {
      timesteps,
      sigmas: withFinal(
        timesteps.map((t) => sigmaAt(t, train)),
        final,
      ),
    };
  }
}

class UniPCSchedule extends SolverSchedule {
  readonly #c: Config;
  /** Converted outputs, the newest last. */
  readonly #outputs: Tensor[] = [];
  #lastSample: Tensor | undefined;
  #lastOrder = 1;

  constructor(config: Config, levels: Levels) {
    super(UniPCMultistepScheduler.className, levels);
    this.#c = config;
  }

  protected override advance(output: Tensor, i: number, given: Tensor, options: StepOptions): StepResult {
    const c = this.#c;
    const converted = this.#convert(output, i, given);
    const corrects = i > 0 && this.#lastSample !== undefined && !c.disable_corrector.includes(i - 1);
    const sample = corrects ? this.#correct(converted, i, given) : given;
    this.push(this.#outputs, converted, c.solver_order);
    this.forget(this.#lastSample);
    this.#lastSample = this.remember(sample);
    const left = this.timesteps.length - i;
    // Of the infinite step to sigma 0 no order but the first is finite either.
    const lower = c.lower_order_final || this.sigmas[i + 1] === 0;
    const wanted = lower ? Math.min(c.solver_order, left) : c.solver_order;
    this.#lastOrder = Math.min(wanted, this.calls + 1);
    this.calls++;
    const prevSample = this.#predict(sample, i, this.#lastOrder);
    if (!wantsOriginal(options)) return { prevSample };
    return { prevSample, predOriginalSample: c.predict_x0 ? converted : this.#original(output, i, given) };
  }

  #original(output: Tensor, i: number, sample: Tensor): Tensor {
    return limitedOriginal(this.#c, originalTerms(this.#c.prediction_type, output, sample, this.level(i)));
  }

  #convert(output: Tensor, i: number, sample: Tensor): Tensor {
    if (this.#c.predict_x0) return this.#original(output, i, sample);
    return combine(noiseTerms(this.#c.prediction_type, output, sample, this.level(i)));
  }

  /** From the sample at step i to the next level. */
  #predict(sample: Tensor, i: number, order: number): Tensor {
    if (this.level(i + 1).lambda === this.level(i).lambda) return combine([[sample, 1]]); // the final level again
    const basis = this.#basis(i + 1, order);
    const terms: Term[] = [
      [sample, basis.sample],
      [this.#outputs.at(-1)!, basis.output],
    ];
    if (order > 1) {
      const { matrix, right } = basis;
      const rho =
        order === 2
          ? [0.5]
          : solve(
              matrix.slice(0, -1).map((row) => row.slice(0, -1)),
              right.slice(0, -1),
            );
      terms.push(...this.#differences(basis, rho));
    }
    return combine(terms);
  }

  /** The sample at step i once more from the step before, now that the model's output there is known. */
  #correct(converted: Tensor, i: number, sample: Tensor): Tensor {
    const order = this.#lastOrder;
    const basis = this.#basis(i, order);
    const rho = order === 1 ? [0.5] : solve(basis.matrix, basis.right);
    const newest = this.#outputs.at(-1)!;
    const last = basis.scale * rho.at(-1)!;
    const corrected = combine([
      [this.#lastSample!, basis.sample],
      [newest, basis.output - last],
      [converted, last],
      ...this.#differences(basis, rho.slice(0, -1)),
    ]);
    return corrected.dtype === sample.dtype
      ? corrected
      : combine([
          [sample, 0],
          [corrected, 1],
        ]);
  }

  /** scale · Σ rho[k] · (older output - newest) / ratio[k], as terms. */
  #differences(basis: Basis, rho: readonly number[]): Term[] {
    const newest = this.#outputs.at(-1)!;
    return rho.flatMap((r, k): Term[] => {
      const weight = (basis.scale * r) / basis.ratios[k]!;
      return [
        [this.#outputs.at(-2 - k)!, weight],
        [newest, -weight],
      ];
    });
  }

  /** The pieces both updates are made of, for the step that reaches level `to`. */
  #basis(to: number, order: number): Basis {
    const [target, now] = [this.level(to), this.level(to - 1)];
    const h = target.lambda - now.lambda;
    const ratios = Array.from(
      { length: order - 1 },
      (_, k) => (this.level(to - 2 - k).lambda - now.lambda) / h,
    );
    const hh = this.#c.predict_x0 ? -h : h;
    const phi1 = Math.expm1(hh);
    const b = this.#c.solver_type === 'bh1' ? hh : phi1;
    const nodes = [...ratios, 1];
    const right: number[] = [];
    let phi = phi1 / hh - 1;
    let factorial = 1;
    for (let k = 1; k <= order; k++) {
      right.push((phi * factorial) / b);
      factorial *= k + 1;
      phi = phi / hh - 1 / factorial;
    }
    const [along, across] = this.#c.predict_x0
      ? [target.sigma / now.sigma, target.alpha]
      : [target.alpha / now.alpha, target.sigma];
    return {
      sample: along,
      output: -across * phi1,
      scale: -across * b,
      ratios,
      matrix: Array.from({ length: order }, (_, k) => nodes.map((r) => r ** k)),
      right,
    };
  }
}

interface Basis {
  /** Weight of the sample the step starts from. */
  readonly sample: number;
  /** Weight of the newest output in the first-order part. */
  readonly output: number;
  /** Weight of the higher-order part. */
  readonly scale: number;
  /** Steps back to older outputs, in units of this step. */
  readonly ratios: readonly number[];
  readonly matrix: readonly (readonly number[])[];
  readonly right: readonly number[];
}
