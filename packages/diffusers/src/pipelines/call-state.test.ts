// What a hook remembers belongs to a call of the pipeline: from its first step to its last, and to no other call.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { keep } from '@darkroom/core';
import type { AnyModule, Device, Hook, Tensor } from '@darkroom/core';
import { emoji } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  pipe.useScheduler('DDIMScheduler');
  pipe.setProgressBarConfig({ disable: true });
});
afterAll(() => {
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

interface Sample {
  readonly sample: Tensor;
}

/** Runs the UNet in every second step and gives its last prediction in the others. */
class StepCache implements Hook<readonly unknown[], Sample> {
  readonly name = 'step cache';
  runs = 0;

  around: NonNullable<Hook<readonly unknown[], Sample>['around']> = (_, args, next, state) => {
    const cached = state.get(this, () => new Cached());
    if (cached.step++ % 2 === 1) return { sample: cached.last!.alias() };
    this.runs++;
    const { sample } = next(...args);
    cached.last?.dispose();
    cached.last = keep(sample.alias());
    return { sample };
  };
}
class Cached {
  step = 0;
  last: Tensor | undefined;
  [Symbol.dispose](): void {
    this.last?.dispose();
  }
}

const draw = async (options: object): Promise<readonly number[]> => {
  const { images } = await pipe('a fox', { numInferenceSteps: 5, guidanceScale: 4, ...options });
  return [...images[0]!.data];
};

test('two calls at once with a step cache give what each gives alone, and nothing of a call stays', async () => {
  const calls = [{ seed: 1 }, { seed: 2, numInferenceSteps: 6, width: 96, height: 32 }] as const;
  const plain = await draw(calls[0]);
  const before = device.memory().live;
  const cache = new StepCache();
  (pipe.unet as unknown as AnyModule).addHook(cache as unknown as Hook);
  const alone = [await draw(calls[0]), await draw(calls[1])];
  expect(cache.runs).toBe(3 + 3);
  expect(alone[0]).not.toEqual(plain);
  expect(await Promise.all(calls.map(draw))).toEqual(alone);
  expect(cache.runs).toBe(12);
  const failing = draw({ seed: 1, callbackOnStepEnd: () => Promise.reject(new Error('stop')) });
  await expect(failing).rejects.toThrow('stop');
  expect(device.memory().live).toBe(before);
  (pipe.unet as unknown as AnyModule).removeHook(cache.name);
  expect(await draw(calls[0])).toEqual(plain);
});
