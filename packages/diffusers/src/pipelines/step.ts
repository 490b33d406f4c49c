// One step of the loop: the denoiser on the (doubled) batch, guidance, the scheduler.

import { cast, concat } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { guide, rescaleGuidance } from './guidance.ts';
import { drawNoise } from './noise.ts';
import type { DenoiserStep, NamedTensors } from './recipe.ts';
import type { Run } from './run.ts';

/** The model and the noise of a step; a recording replaces them by placeholders. */
export interface StepSources {
  /** The scaled latents of the (doubled) batch → the prediction. */
  predict(input: Tensor): Tensor;
  /** Standard normal values in the shape of the latents, for stochastic schedulers. */
  noise(): Tensor;
}

/** The denoiser's description of step i. */
export function stepAt({ schedule, recipe }: Run, i: number): DenoiserStep {
  const timestep = schedule.timesteps[i]!;
  return { timestep, variant: recipe.denoiser.variant?.({ i, timestep }) ?? '' };
}

/** Latents after step i; `tensors` are the run's, or stand-ins of the same names and shapes. */
export function step(
  run: Run,
  tensors: NamedTensors,
  i: number,
  sources: StepSources = sourcesOf(run, tensors, i),
): Tensor {
  const { call, schedule } = run;
  const latents = tensors['latents']!;
  const doubled = call.guided ? concat([latents, latents], 0) : latents;
  const sample = sources.predict(schedule.scaleModelInput(doubled, i));
  let noise = sample;
  if (call.guided) {
    const [uncond, text] = sample.chunk(2, 0) as [Tensor, Tensor];
    noise = guide(uncond, text, call.guidanceScale);
    if (call.guidanceRescale > 0) noise = rescaleGuidance(noise, text, call.guidanceRescale);
  }
  const { prevSample } = schedule.step(noise, i, latents, {
    eta: call.eta,
    noise: sources.noise,
    predOriginalSample: false,
  });
  const { start } = run.recipe;
  return cast(start.afterStep?.(prevSample, run, tensors, i) ?? prevSample, run.dtype);
}

/** The denoiser, and noise drawn from the call's generators. */
function sourcesOf(run: Run, tensors: NamedTensors, i: number): StepSources {
  return {
    predict: (input) => run.recipe.denoiser.predict(input, stepAt(run, i), tensors),
    noise: () => noiseFor(run, tensors),
  };
}

/** Draws the noise of a stochastic step, in the latents' shape and dtype. */
export function noiseFor(run: Run, tensors: NamedTensors): Tensor {
  const { shape, dtype } = tensors['latents']!;
  return drawNoise(run.generators, shape, dtype, run.device);
}
