// The training timesteps of a run of n steps: 'linspace', 'leading' or 'trailing' spacing.
// Reference: Lin et al. 2023, table 2; the rounding is diffusers'.

import { ArgumentError } from '@darkroom/core';
import type { Refuse } from './config.ts';
import { choice, describeValue, integer } from './fields.ts';
import type { Field } from './fields.ts';
import { arange, linspace, roundHalfEven } from './numeric.ts';

export type Spacing = 'linspace' | 'leading' | 'trailing';

export interface SpacingConfig {
  readonly num_train_timesteps: number;
  readonly timestep_spacing: Spacing;
  readonly steps_offset: number;
}

export function spacingFields(spacing: Spacing): {
  readonly timestep_spacing: Field<Spacing>;
  readonly steps_offset: Field<number>;
} {
  return {
    timestep_spacing: choice<Spacing>(spacing, ['linspace', 'leading', 'trailing']),
    steps_offset: integer(0),
  };
}

/** Throws unless 1 <= steps <= the number of training timesteps. */
export function checkSteps(className: string, steps: number | undefined, train: number): number {
  if (steps === undefined || !Number.isInteger(steps) || steps < 1) {
    throw new ArgumentError(
      `${className}: numInferenceSteps must be an integer >= 1, got ${describeValue(steps)}`,
    );
  }
  if (steps > train) {
    throw new ArgumentError(
      `${className}: numInferenceSteps must be at most num_train_timesteps ${train}, got ${steps}`,
    );
  }
  return steps;
}

/**
 * n timesteps in falling order. `fractional` keeps linspace's fractions (rounded to float32), as Euler-type classes do.
 */
export function spacedTimesteps(
  config: SpacingConfig,
  n: number,
  refuse: Refuse,
  fractional = false,
): number[] {
  const { num_train_timesteps: train } = config;
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, train - 1, n)
        .map(fractional ? Math.fround : roundHalfEven)
        .reverse();
    case 'leading':
      return leading(config, Math.floor(train / n), n - 1, n, refuse);
    case 'trailing':
      return trailing(train, train, n);
  }
}

/**
 * As spacedTimesteps, but n of n + 1 points, the lowest left out, below `last`: the grid of DPM-Solver and UniPC, whose
 * final step goes to sigma 0 or the smallest sigma.
 */
export function solverTimesteps(
  config: SpacingConfig,
  n: number,
  refuse: Refuse,
  last: number = config.num_train_timesteps,
): number[] {
  // A run over every timestep has no room for the extra point: it keeps the lowest rather than visit one twice.
  const points = Math.min(n + 1, last);
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, last - 1, points)
        .map(roundHalfEven)
        .reverse()
        .slice(0, n);
    case 'leading':
      return leading(config, Math.floor(last / points), points - 1, n, refuse);
    case 'trailing':
      return trailing(last, config.num_train_timesteps, n);
  }
}

/** n multiples of the stride, the first of them `from` strides up, all moved by steps_offset. */
function leading(
  { num_train_timesteps: train, steps_offset: offset }: SpacingConfig,
  stride: number,
  from: number,
  n: number,
  refuse: Refuse,
): number[] {
  const top = from * stride + offset;
  if (top >= train) {
    refuse(
      `steps_offset: ${offset} moves the first of ${n} timesteps to ${top}, past num_train_timesteps ${train}; use fewer steps`,
    );
  }
  return Array.from({ length: n }, (_, i) => (from - i) * stride + offset);
}

/**
 * n timesteps down from `last` in strides of train / n. NumPy's count of a range is off by one for some n (61 of 1000:
 * the last would be -1), and a range that begins lower has room for fewer strides: then the strides are last / n.
 */
function trailing(last: number, train: number, n: number): number[] {
  const whole = arange(last, 0, -train / n);
  const falling = whole.length >= n ? whole : arange(last, 0, -last / n);
  return falling.slice(0, n).map((t) => roundHalfEven(t) - 1);
}

/** Custom timesteps: whole numbers (unless fractions are allowed) in falling order within the training range. */
export function checkTimesteps(
  className: string,
  timesteps: readonly number[],
  train: number,
  fractional = false,
): number[] {
  if (timesteps.length === 0) throw new ArgumentError(`${className}: timesteps must not be empty`);
  for (const [i, t] of timesteps.entries()) {
    const ok = (fractional ? Number.isFinite(t) : Number.isInteger(t)) && t >= 0 && t < train;
    if (!ok) {
      throw new ArgumentError(
        `${className}: timesteps[${i}] must be ${fractional ? 'a number' : 'an integer'} from 0 to ${train - 1}, got ${describeValue(t)}`,
      );
    }
    if (i > 0 && t >= timesteps[i - 1]!) {
      throw new ArgumentError(
        `${className}: timesteps must fall, but timesteps[${i}] is ${t} after ${timesteps[i - 1]}`,
      );
    }
  }
  return [...timesteps];
}
