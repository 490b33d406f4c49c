// Pictures tell how they were drawn, and are drawn again from what they tell.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpu } from '@darkroom/backend-cpu';
import type { Device } from '@darkroom/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Image } from '../image/image.ts';
import { nameOfModel } from '../loading/model-name.ts';
import { memoryFiles } from '../loading/files.ts';
import { emoji, root } from '../node/testing.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { schedulerAliases, schedulerName } from '../schedulers/aliases.ts';
import { version } from '../version.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
});
afterAll(() => {
  pipe.dispose();
  device[Symbol.dispose]();
});
const quick = { numInferenceSteps: 3, guidanceScale: 4 };

test('a picture tells all of its call, and drawn again from that is the same', async () => {
  pipe.useScheduler('euler_a');
  const [image] = (await pipe('a fox', { ...quick, negativePrompt: '', seed: 5, clipSkip: 1 })).images;
  const told = (await Image.decode(await image!.encode('png'))).parameters!;
  expect(told).toEqual({
    prompt: 'a fox',
    negativePrompt: '',
    steps: 3,
    scheduler: 'euler_a',
    guidanceScale: 4,
    clipSkip: 1,
    width: 64,
    height: 64,
    model: 'emoji-64',
    version: `darkroom ${version}`,
    seed: 5,
  });
  pipe.useScheduler('ddim');
  pipe.useScheduler(told.scheduler!);
  const again = await pipe(told.prompt, {
    numInferenceSteps: told.steps!,
    guidanceScale: told.guidanceScale!,
    negativePrompt: told.negativePrompt!,
    clipSkip: told.clipSkip!,
    seed: told.seed!,
  });
  expect(again.images[0]!.data).toEqual(image!.data);
});

test('a seed for each picture is told as its own; one for all with its place in the batch', async () => {
  const each = await pipe(['a fox', 'a cat'], { ...quick, seed: [5, 6] });
  expect(each.images.map(({ parameters: p }) => [p!.prompt, p!.seed, p!.batchSize])).toEqual([
    ['a fox', 5, undefined],
    ['a cat', 6, undefined],
  ]);
  const alone = await pipe('a cat', { ...quick, seed: 6 });
  expect(alone.images[0]!.data).toEqual(each.images[1]!.data);
  const shared = await pipe('a fox', { ...quick, seed: 5, numImagesPerPrompt: 2 });
  expect(shared.images.map(({ parameters: p }) => [p!.seed, p!.batchSize, p!.batchIndex])).toEqual([
    [5, 2, 0],
    [5, 2, 1],
  ]);
  const given = await pipe('a fox', { ...quick, generator: new TorchCpuGenerator(5) });
  expect(given.images[0]!.parameters).not.toHaveProperty('seed');
});

test('a picture over another tells its strength', async () => {
  const over = StableDiffusionImg2ImgPipeline.fromPipe(pipe);
  const image = new Image(64, 64, new Uint8ClampedArray(64 * 64 * 3));
  const { images } = await over('a fox', { ...quick, image, strength: 0.5, seed: 1 });
  expect(images[0]!.parameters).toMatchObject({ strength: 0.5, model: 'emoji-64' });
});

test('every short name of a scheduler chooses it, and is told', () => {
  for (const [name, alias] of Object.entries(schedulerAliases)) {
    pipe.useScheduler(name);
    const { scheduler } = pipe;
    expect([name, schedulerName(alias.className, scheduler.config)]).toEqual([name, name]);
    expect(scheduler.config['_class_name']).toBe(alias.className);
  }
  expect(() => pipe.useScheduler('Magic')).toThrow(
    'scheduler: must be one of euler, euler_karras, euler_a, dpm++2m',
  );
  expect(() => pipe.useScheduler('constructor')).toThrow('scheduler: must be one of');
  expect(schedulerName('MyScheduler', {})).toBe('MyScheduler');
});

test("a model's name tells which, and nothing of the machine", () => {
  const url = (path: string): Record<string, URL> => ({ 'model_index.json': new URL(path) });
  expect(nameOfModel('stabilityai/sdxl-turbo')).toBe('stabilityai/sdxl-turbo');
  expect(nameOfModel('/home/someone/models/sd15/')).toBe('sd15');
  expect(nameOfModel('./sd15')).toBe('sd15');
  expect(nameOfModel('C:\\models\\sd15')).toBe('sd15');
  expect(nameOfModel(url('file:///x/emoji%2064/model_index.json'))).toBe('emoji 64');
  expect(nameOfModel(url('https://a.b/assets/model_index-x1y2.json'))).toBeUndefined();
  expect(nameOfModel(memoryFiles({}, 'https://a.b/models/tiny?download=1'))).toBe('tiny');
});

test("the version is the package's", () => {
  const { version: packed } = JSON.parse(
    readFileSync(join(root, 'packages/diffusers/package.json'), 'utf8'),
  ) as { version: string };
  expect(version).toBe(packed);
});
