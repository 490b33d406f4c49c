// The meaning of a model's output (prediction_type), and its conversion to the clean sample x0 or to the noise.
// Reference: Salimans and Ho 2022 (v-prediction).

import { ArgumentError, clamp } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { combine } from './combine.ts';
import type { Terms } from './combine.ts';
import { choice, flag, number } from './fields.ts';
import type { Field } from './fields.ts';
import { thresholdSample } from './threshold.ts';

export type Prediction = 'epsilon' | 'sample' | 'v_prediction';

/** The variance of a step; in a DPM-Solver config it only tells if the model's output holds the variance. */
export type Variance =
  'fixed_small' | 'fixed_small_log' | 'fixed_large' | 'fixed_large_log' | 'learned' | 'learned_range';
export const variances: readonly Variance[] = [
  'fixed_small',
  'fixed_small_log',
  'fixed_large',
  'fixed_large_log',
  'learned',
  'learned_range',
];

/** The prediction types a class supports, and older names of them. */
export function predictionField(
  types: readonly Prediction[] = ['epsilon', 'sample', 'v_prediction'],
  aliases: Readonly<Record<string, Prediction>> = {},
): Field<Prediction> {
  return choice<Prediction>('epsilon', types, aliases);
}

/** x = alpha · x0 + sigma · noise. */
export interface Mix {
  readonly alpha: number;
  readonly sigma: number;
}

/** The mix of a training timestep with cumulative product `p`. */
export function mixOf(p: number): Mix {
  return { alpha: Math.sqrt(p), sigma: Math.sqrt(1 - p) };
}

/** The variance-preserving mix of a noise level: alpha² + sigma² = 1, their ratio is the level. */
export function mixOfSigma(level: number): Mix {
  const alpha = 1 / Math.sqrt(level * level + 1);
  return { alpha, sigma: level * alpha };
}

/**
 * Used instead of 1 / alpha at alpha 0 (zero terminal SNR): above any limit of x0, small enough for sums in float32.
 * Without a limit of x0 such a step is refused (signal.ts).
 */
const largestInverse = 1e30;

/** x0 as terms over sample and output. */
export function originalTerms(
  type: Prediction,
  output: Tensor,
  sample: Tensor,
  { alpha, sigma }: Mix,
): Terms {
  switch (type) {
    case 'epsilon': {
      const inverse = Math.min(1 / alpha, largestInverse);
      return [
        [sample, inverse],
        [output, -sigma * inverse],
      ];
    }
    case 'v_prediction':
      return [
        [sample, alpha],
        [output, -sigma],
      ];
    case 'sample':
      return [[output, 1]];
  }
}

/** The noise as terms over sample and output. */
export function noiseTerms(type: Prediction, output: Tensor, sample: Tensor, { alpha, sigma }: Mix): Terms {
  switch (type) {
    case 'epsilon':
      return [[output, 1]];
    case 'v_prediction':
      return [
        [sample, sigma],
        [output, alpha],
      ];
    case 'sample':
      return [
        [sample, 1 / sigma],
        [output, -alpha / sigma],
      ];
  }
}

/** x0 as terms, for the variance-exploding samples of Euler-type classes: x = x0 + level · noise. */
export function explodingOriginalTerms(
  type: Prediction,
  output: Tensor,
  sample: Tensor,
  level: number,
): Terms {
  switch (type) {
    case 'epsilon':
      return [
        [sample, 1],
        [output, -level],
      ];
    case 'v_prediction':
      return [
        [sample, 1 / (level * level + 1)],
        [output, -level / Math.sqrt(level * level + 1)],
      ];
    case 'sample':
      return [[output, 1]];
  }
}

export interface ClipConfig {
  readonly clip_sample?: boolean;
  readonly clip_sample_range?: number;
  readonly thresholding?: boolean;
  readonly dynamic_thresholding_ratio?: number;
  readonly sample_max_value?: number;
}

export function clipFields(clip: boolean): {
  readonly clip_sample: Field<boolean>;
  readonly clip_sample_range: Field<number>;
} {
  return { clip_sample: flag(clip), clip_sample_range: number(1) };
}

export const thresholdFields: {
  readonly thresholding: Field<boolean>;
  readonly dynamic_thresholding_ratio: Field<number>;
  readonly sample_max_value: Field<number>;
} = {
  thresholding: flag(false),
  dynamic_thresholding_ratio: number(0.995, 0, 1),
  sample_max_value: number(1, 1e-6),
};

/** True if the config clips or thresholds x0, which must then be computed separately. */
export function limits(config: ClipConfig): boolean {
  return config.thresholding === true || config.clip_sample === true;
}

/** The combined terms of x0 after the config's clipping or dynamic thresholding, if any. */
export function limitedOriginal(config: ClipConfig, terms: Terms): Tensor {
  const x0 = combine(terms);
  if (config.thresholding)
    return thresholdSample(x0, config.dynamic_thresholding_ratio ?? 0.995, config.sample_max_value ?? 1);
  const range = config.clip_sample_range ?? 1;
  return config.clip_sample ? clamp(x0, -range, range) : x0;
}

/** Throws unless the output has the shape of the sample. */
export function requireSameShape(className: string, output: Tensor, sample: Tensor): void {
  if (output.shape.length === sample.shape.length && output.shape.every((d, i) => d === sample.shape[i]))
    return;
  throw new ArgumentError(
    `${className}: model output [${output.shape}] must have the shape of the sample [${sample.shape}]`,
  );
}
