// Which training timesteps a run of n steps visits: 'linspace', 'leading' or 'trailing'.
// Reference: Lin et al. 2023, table 2; the rounding is diffusers'.

import { ArgumentError } from '@darkroom/core';
import { choice, integer } from './config.ts';
import type { Field } from './config.ts';
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
    throw new ArgumentError(`${className}: numInferenceSteps must be an integer >= 1, got ${steps}`);
  }
  if (steps > train) {
    throw new ArgumentError(
      `${className}: numInferenceSteps must be at most num_train_timesteps ${train}, got ${steps}`,
    );
  }
  return steps;
}

/** n timesteps in falling order. `fractional` keeps linspace's fractions (rounded to float32), as Euler-type classes do. */
export function spacedTimesteps(config: SpacingConfig, n: number, fractional = false): number[] {
  const { num_train_timesteps: train, steps_offset: offset } = config;
  const top = Math.floor(train / n) * (n - 1) + offset;
  if (!fractional && config.timestep_spacing === 'leading' && top >= train) {
    throw new ArgumentError(
      `steps_offset: ${offset} moves the first of ${n} timesteps to ${top}, past num_train_timesteps ${train}; use fewer steps`,
    );
  }
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, train - 1, n)
        .map(fractional ? Math.fround : roundHalfEven)
        .reverse();
    case 'leading': {
      const stride = Math.floor(train / n);
      return Array.from({ length: n }, (_, i) => (n - 1 - i) * stride + offset);
    }
    case 'trailing':
      return arange(train, 0, -train / n).map((t) => roundHalfEven(t) - 1);
  }
}

/**
 * As spacedTimesteps, but n of n + 1 points, the lowest left out, below `last`: the grid of DPM-Solver and UniPC, whose
 * final step goes to sigma 0 or the smallest sigma.
 */
export function solverTimesteps(
  config: SpacingConfig,
  n: number,
  last: number = config.num_train_timesteps,
): number[] {
  const { num_train_timesteps: train, steps_offset: offset } = config;
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, last - 1, n + 1)
        .map(roundHalfEven)
        .reverse()
        .slice(0, -1);
    case 'leading': {
      const stride = Math.floor(last / (n + 1));
      return Array.from({ length: n }, (_, i) => (n - i) * stride + offset);
    }
    case 'trailing':
      return arange(last, 0, -train / n).map((t) => roundHalfEven(t) - 1);
  }
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
        `${className}: timesteps[${i}] must be ${fractional ? 'a number' : 'an integer'} from 0 to ${train - 1}, got ${t}`,
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
