// A CPU device whose worker thread dies while a model loads or draws: one DeviceError, and nothing waits for ever.

import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { DeviceError } from '@darkroom/core';
import { emoji } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let workers: Worker[];
beforeEach(() => {
  workers = [];
  const { postMessage } = Worker.prototype;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...args) {
    workers.push(this);
    postMessage.apply(this, args);
  });
});
afterEach(() => vi.restoreAllMocks());

test.each([2, 3])('while loading, with %i threads', async (threads) => {
  const device = await cpu({ threads });
  let told = 0;
  const loading = StableDiffusionPipeline.fromPretrained(emoji, {
    device,
    dtype: 'float16',
    onLoad: () => {
      if (told++ === 5) void workers.at(-1)!.terminate();
    },
  });
  await expect(loading).rejects.toThrow(DeviceError);
  device[Symbol.dispose]();
});

test('while drawing', async () => {
  const device = await cpu({ threads: 2 });
  const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  pipe.setProgressBarConfig({ disable: true });
  const call = pipe('a fox', {
    numInferenceSteps: 6,
    callbackOnStepEnd: (_, step) => {
      if (step === 2) void workers[0]!.terminate();
    },
  });
  await expect(call).rejects.toThrow('cpu: the device is lost: worker thread 1 of 1 ended');
  await expect(pipe('a fox')).rejects.toThrow('cpu: the device is lost');
  pipe.dispose();
  device[Symbol.dispose]();
});
