// Reads which of numInferenceSteps, timesteps and sigmas a call gave, and checks that the class supports it.

import { ArgumentError } from '@darkroom/core';
import { describeValue } from './fields.ts';
import type { ScheduleOptions } from './scheduler.ts';
import { checkSteps, checkTimesteps } from './spacing.ts';

export interface Supports {
  readonly timesteps?: boolean | 'fractional';
  readonly sigmas?: boolean;
}

export type Request =
  | { readonly kind: 'steps'; readonly steps: number }
  | { readonly kind: 'timesteps'; readonly timesteps: readonly number[] }
  | { readonly kind: 'sigmas'; readonly sigmas: readonly number[] };

/** The requested schedule. numInferenceSteps beside a custom schedule must be its length. @throws ArgumentError */
export function readRequest(
  className: string,
  options: ScheduleOptions,
  train: number,
  supports: Supports = {},
): Request {
  const { numInferenceSteps, timesteps, sigmas } = options;
  if (timesteps !== undefined && sigmas !== undefined) {
    throw new ArgumentError(`${className}: give timesteps or sigmas, not both`);
  }
  const refuse = (what: string): never => {
    const can = [supports.timesteps && 'timesteps', supports.sigmas && 'sigmas'].filter(Boolean);
    throw new ArgumentError(
      `${className}: does not support custom ${what}${can.length > 0 ? ` (only ${can.join(' and ')})` : ''}; give numInferenceSteps`,
    );
  };
  if (timesteps !== undefined) {
    if (!supports.timesteps) return refuse('timesteps');
    const checked = checkTimesteps(className, timesteps, train, supports.timesteps === 'fractional');
    checkLength(className, 'timesteps', checked.length, numInferenceSteps);
    return { kind: 'timesteps', timesteps: checked };
  }
  if (sigmas !== undefined) {
    if (!supports.sigmas) return refuse('sigmas');
    checkSigmas(className, sigmas);
    checkLength(className, 'sigmas', sigmas.length - 1, numInferenceSteps);
    return { kind: 'sigmas', sigmas };
  }
  return { kind: 'steps', steps: checkSteps(className, numInferenceSteps, train) };
}

function checkLength(className: string, what: string, length: number, steps: number | undefined): void {
  if (steps !== undefined && steps !== length) {
    throw new ArgumentError(
      `${className}: ${what} make ${length} steps but numInferenceSteps is ${steps}; leave it out`,
    );
  }
}

function checkSigmas(className: string, sigmas: readonly number[]): void {
  if (sigmas.length < 2)
    throw new ArgumentError(
      `${className}: sigmas must hold at least 2 levels, the final one included, got ${sigmas.length}`,
    );
  for (const [i, s] of sigmas.entries()) {
    const last = i === sigmas.length - 1;
    const level = Number.isFinite(s) ? Math.fround(s) : NaN;
    if (!(level > 0 && level < Infinity) && !(last && level === 0)) {
      throw new ArgumentError(
        `${className}: sigmas[${i}] must be a number > 0 (0 only at the end), got ${describeValue(s)}`,
      );
    }
    // A list whose final level is sigma_min ends in the same level twice.
    if (i > 0 && !(s < sigmas[i - 1]! || (last && s === sigmas[i - 1]!))) {
      throw new ArgumentError(
        `${className}: sigmas must fall, but sigmas[${i}] is ${s} after ${sigmas[i - 1]}`,
      );
    }
  }
}
