// One picture of a small real model on the device, beside the CPU's: the same prompt and seed, float32.

import { cpu } from '@darkroom/backend-cpu';
import { pictureTolerance } from '@darkroom/core/testing';
import type { Device } from '@darkroom/core';
import { StableDiffusionPipeline } from '@darkroom/diffusers';
import type { StageContext, VerifyOptions } from './stage.ts';

/** Differences of 8-bit channels; `failure`: why they are too large. */
export interface PictureDifference {
  readonly largest: number;
  readonly mean: number;
  readonly failure?: string;
}

/** Draws in `steps` steps on a CPU and on `device`. */
export async function drawBeside(
  { model, tiny }: VerifyOptions,
  device: Device,
  steps: number,
): Promise<PictureDifference> {
  const side = tiny ? { width: 16, height: 16 } : {};
  const draw = async (on: Device): Promise<Uint8ClampedArray> => {
    const pipe = await StableDiffusionPipeline.fromPretrained(model, { device: on });
    pipe.setProgressBarConfig({ disable: true });
    const { images } = await pipe('a fox', { ...side, seed: 7, numInferenceSteps: steps, guidanceScale: 4 });
    pipe.dispose();
    return images[0]!.data;
  };
  const host = await cpu();
  const want = await draw(host);
  host[Symbol.dispose]();
  const before = device.precision.conv2d;
  device.precision.conv2d = 'float32'; // as the CPU computes
  const got = await draw(device);
  device.precision.conv2d = before;
  let largest = 0;
  let total = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(want[i]! - got[i]!);
    largest = Math.max(largest, difference);
    total += difference;
  }
  const mean = total / want.length;
  if (largest <= pictureTolerance.largest && mean <= pictureTolerance.mean) return { largest, mean };
  const failure =
    `the picture of ${model} differs from the CPU's by ${largest} at most and ${mean.toFixed(4)} in the mean; ` +
    `allowed are ${pictureTolerance.largest} and ${pictureTolerance.mean}`;
  return { largest, mean, failure };
}

/** A stage: eight steps. */
export async function picture({ options, record, open }: StageContext): Promise<void> {
  const steps = options.tiny ? 1 : 8;
  const { failure, ...difference } = await drawBeside(options, await open('off'), steps);
  record({ kind: 'fact', name: 'picture', value: { steps, ...difference, allowed: pictureTolerance } });
  const failures = failure ? [failure] : [];
  record({ kind: 'check', name: 'picture', passed: 1 - failures.length, unsupported: 0, failures });
}
