// Euler's method with ancestral noise: each step goes further down and adds fresh noise to come back up.
// Reference: Katherine Crowson's k-diffusion, sample_euler_ancestral (behaviour through diffusers).

import type { Tensor } from '@darkroom/core';
import { betaFields, betaTable } from './betas.ts';
import type { BetaTable } from './betas.ts';
import { combine, scaled } from './combine.ts';
import type { SchedulerConfig } from './config.ts';
import { flag } from './fields.ts';
import type { Values } from './fields.ts';
import { readRequest } from './options.ts';
import { explodingOriginalTerms, predictionField } from './prediction.ts';
import { wantsOriginal } from './schedule.ts';
import type { Schedule, ScheduleOptions, StepOptions, StepResult } from './scheduler.ts';
import { initialSigma, SigmaSchedule, SigmaScheduler, spacedLevels } from './sigma-schedule.ts';
import type { Levels } from './sigma-schedule.ts';
import { checkFalling } from './signal.ts';
import { spacingFields } from './spacing.ts';
import { velocityStep } from './velocity-step.ts';

const fields = {
  ...betaFields(),
  ...spacingFields('linspace'),
  prediction_type: predictionField(['epsilon', 'v_prediction']),
  rescale_betas_zero_snr: flag(false),
};
type Config = Values<typeof fields>;
const byTimestep = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false };

export class EulerAncestralDiscreteScheduler extends SigmaScheduler {
  static readonly className = 'EulerAncestralDiscreteScheduler';
  readonly table: BetaTable;

  constructor(config: SchedulerConfig = {}, file?: string) {
    super(EulerAncestralDiscreteScheduler.className, fields, config, file);
    const c = this.values as Config;
    this.table = betaTable(c, this.refuse, c.rescale_betas_zero_snr, 2 ** -24);
  }

  schedule(options: ScheduleOptions): Schedule {
    const c = this.values as Config;
    const request = readRequest(this.className, options, c.num_train_timesteps);
    const { steps } = request as { steps: number };
    const levels = spacedLevels({ ...c, ...byTimestep }, this.table, steps, this.refuse);
    checkFalling(this.refuse, c, levels.sigmas); // a step that rises has no noise to add
    return new EulerAncestralSchedule(c, levels, initialSigma(c, levels.sigmas));
  }
}

class EulerAncestralSchedule extends SigmaSchedule {
  readonly #c: Config;

  constructor(config: Config, levels: Levels, initNoiseSigma: number) {
    super(EulerAncestralDiscreteScheduler.className, levels, initNoiseSigma);
    this.#c = config;
  }

  protected override advance(output: Tensor, i: number, sample: Tensor, options: StepOptions): StepResult {
    const [from, to] = [this.sigmas[i]!, this.sigmas[i + 1]!];
    const original = explodingOriginalTerms(this.#c.prediction_type, output, sample, from);
    const up = Math.sqrt((to * to * (from * from - to * to)) / (from * from));
    const down = Math.sqrt(Math.max(0, to * to - up * up));
    const step = down - from;
    // Noise is drawn in the last step too, where it counts nothing: the stream must not depend on that.
    const noise = this.drawNoise(options);
    const prevSample =
      this.#c.prediction_type === 'v_prediction'
        ? velocityStep(sample, output, { level: from, divisor: from, step, noise: [noise, up] })
        : combine([[sample, 1 + step / from], ...scaled(original, -step / from), [noise, up]]);
    return { prevSample, ...(wantsOriginal(options) && { predOriginalSample: combine(original) }) };
  }
}
