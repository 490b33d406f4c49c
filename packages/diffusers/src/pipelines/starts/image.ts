// Helpers of image-to-image and inpainting: the steps that a strength runs, and latents noised to a step.

import { ArgumentError, concat, describe } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { Schedule } from '../../schedulers/scheduler.ts';
import type { StartOfRun, Window } from '../recipe.ts';

export function requireStrength(strength: number): void {
  if (typeof strength !== 'number' || !(strength >= 0 && strength <= 1))
    throw new ArgumentError(`strength: must be from 0 to 1, got ${describe(strength)}`);
}

/** The last int(strength · n) of n steps. @throws ArgumentError if that is none. */
export function strengthWindow(
  schedule: Schedule,
  numInferenceSteps: number | undefined,
  strength: number,
): Window {
  const end = schedule.timesteps.length;
  const steps = numInferenceSteps ?? end;
  const run = Math.min(Math.trunc(steps * strength), steps);
  if (run < 1)
    throw new ArgumentError(
      `strength: ${strength} of ${steps} steps leaves none to run; needs at least ${1 / steps}`,
    );
  return { begin: (steps - run) * schedule.order, end };
}

/** Clean latents with `noise` mixed in, at the noise level before step i of the schedule. */
export function noisedTo(
  { scheduler, schedule }: StartOfRun,
  latents: Tensor,
  noise: Tensor,
  i: number,
): Tensor {
  schedule.setBeginIndex(i); // a timestep may occur twice in a schedule: the index selects one
  return scheduler.addNoise(latents, noise, [schedule.timesteps[i]!], schedule);
}

/**
 * @throws ArgumentError unless `count` pictures divide the batch: they are used in turn, 0, 1, 0, 1, …, as in
 * diffusers.
 */
export function requireFits(name: string, count: number, batch: number): void {
  if (count > batch || batch % count !== 0)
    throw new ArgumentError(
      `${name}: ${count} cannot be shared out over ${batch} pictures; give one, or one for each`,
    );
}

export function repeatAll(x: Tensor, batch: number): Tensor {
  const times = batch / x.shape[0]!;
  return times === 1
    ? x
    : concat(
        Array.from({ length: times }, () => x),
        0,
      );
}
