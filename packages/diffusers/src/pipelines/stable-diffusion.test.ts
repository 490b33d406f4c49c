// The pipeline on the embedded model: pictures, seeds, batches, callbacks, aborts, memory, moving between devices.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { debug, keep, randomNormal, tensor, toFormat } from '@darkroom/core';
import { parseGraph, recordGraph, runGraph, serializeGraph } from '@darkroom/core/graph';
import type { AnyModule, Device } from '@darkroom/core';
import type { Image } from '../image/image.ts';
import { emoji, temporaryFolder } from '../node/testing.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import type { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  pipe.setProgressBarConfig({ disable: true });
});
afterAll(() => {
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const quick = { numInferenceSteps: 8, guidanceScale: 4 } as const;

/** Mean colour of the four corners, [r, g, b]. */
function corners({ width, height, data, channels }: Image): number[] {
  const at = (x: number, y: number, c: number): number => data[(y * width + x) * channels + c]!;
  return [0, 1, 2].map(
    (c) => (at(1, 1, c) + at(width - 2, 1, c) + at(1, height - 2, c) + at(width - 2, height - 2, c)) / 4,
  );
}

/** Mean absolute difference of two pictures, in 0 … 255. */
function difference(a: Image, b: Image): number {
  return a.data.reduce((n, v, i) => n + Math.abs(v - b.data[i]!), 0) / a.data.length;
}

describe('pictures', () => {
  test('show what the prompt says: backgrounds have the colour asked for', async () => {
    const { images } = await pipe(['a fox on a blue background', 'a fox on a red background', 'a fox'], {
      ...quick,
      numInferenceSteps: 20,
      seed: [1, 1, 1],
    });
    const [blue, red, white] = images.map(corners) as [number[], number[], number[]];
    expect(blue[2]! - blue[0]!).toBeGreaterThan(80);
    expect(red[0]! - red[2]!).toBeGreaterThan(80);
    expect(Math.min(...white)).toBeGreaterThan(200);
  });

  test('the same seed gives the same bytes; another seed or prompt another picture', async () => {
    const draw = async (prompt: string, seed: number): Promise<Image> =>
      (await pipe(prompt, { ...quick, seed })).images[0]!;
    const [a, again, otherSeed, otherPrompt] = [
      await draw('a fox', 3),
      await draw('a fox', 3),
      await draw('a fox', 4),
      await draw('a pizza', 3),
    ];
    expect(again.data).toEqual(a.data);
    expect(difference(a, otherSeed)).toBeGreaterThan(5);
    expect(difference(a, otherPrompt)).toBeGreaterThan(5);
  });

  test('a batch with one seed an image equals the images made alone', async () => {
    const { images, seeds } = await pipe(['a fox', 'a pizza'], { ...quick, seed: [7, 8] });
    expect(seeds).toEqual([7, 8]);
    const alone = (await pipe('a pizza', { ...quick, seed: 8 })).images[0]!;
    expect(difference(images[1]!, alone)).toBeLessThan(1);
  });

  test('numImagesPerPrompt repeats each prompt; a generator is drawn from in order', async () => {
    const { images } = await pipe(['a fox', 'a pizza'], {
      ...quick,
      numImagesPerPrompt: 2,
      generator: new TorchCpuGenerator(5),
    });
    expect(images.length).toBe(4);
    expect(difference(images[0]!, images[1]!)).toBeGreaterThan(2);
  });

  test('a negative prompt, guidance off and rescaled guidance each change the picture', async () => {
    const draw = async (options: object): Promise<Image> =>
      (await pipe('a fox', { ...quick, seed: 3, ...options })).images[0]!;
    const base = await draw({});
    for (const options of [
      { negativePrompt: 'a fox' },
      { guidanceScale: 1 },
      { guidanceRescale: 0.7 },
      { clipSkip: 1 },
    ]) {
      expect(difference(base, await draw(options)), JSON.stringify(options)).toBeGreaterThan(0.5);
    }
  });

  test('given embeddings equal their prompt; other sizes work', async () => {
    const ids = [pipe.tokenizer.encode('a fox').ids];
    const embeds = pipe.textEncoder.call(ids, { dtype: 'float32' });
    const options = { ...quick, seed: 3 };
    const byPrompt = (await pipe('a fox', options)).images[0]!;
    const byEmbeds = (await pipe(undefined, { ...options, promptEmbeds: embeds.lastHiddenState })).images[0]!;
    expect(byEmbeds.data).toEqual(byPrompt.data);
    for (const t of [embeds.lastHiddenState, embeds.poolerOutput, ...embeds.hiddenStates]) t.dispose();
    const wide = (await pipe('a fox', { ...options, width: 96, height: 48 })).images[0]!;
    expect([wide.width, wide.height]).toEqual([96, 48]);
  });
});

describe('outputs', () => {
  test("'tensor' is [n, 3, h, w] in [0, 1]; 'latent' decodes to the same picture", async () => {
    const options = { ...quick, seed: 3 };
    const image = (await pipe('a fox', options)).images[0]!;
    const { tensor: pixels, images } = await pipe('a fox', { ...options, outputType: 'tensor' });
    expect(images).toEqual([]);
    expect(pixels!.shape).toEqual([1, 3, 64, 64]);
    const values = await pixels!.data();
    expect(Math.round(values[0]! * 255)).toBe(image.data[0]);
    pixels!.dispose();
    const { tensor: latent } = await pipe('a fox', { ...options, outputType: 'latent' });
    expect(latent!.shape).toEqual([1, 4, 16, 16]);
    latent!.dispose();
  });

  test('a picture is saved whole as a PNG', async () => {
    const folder = temporaryFolder();
    const { images } = await pipe('a fox', { ...quick, seed: 3 });
    const path = join(folder.path, 'x.png');
    await images[0]!.save(path);
    expect([...readFileSync(path).subarray(1, 4)]).toEqual([...Buffer.from('PNG')]);
    folder.remove();
  });
});

describe('the loop', () => {
  test('callbacks see every step, may replace latents, may interrupt', async () => {
    const steps: number[] = [];
    const { images } = await pipe('a fox', {
      ...quick,
      seed: 3,
      callbackOnStepEnd: (self, step, timestep, { latents }) => {
        expect(latents.shape).toEqual([1, 4, 16, 16]);
        steps.push(timestep);
        if (step === 3) self.interrupt = true;
      },
    });
    expect(steps.length).toBe(4);
    expect(images.length).toBe(1);
    const noise = randomNormal([1, 4, 16, 16], { device, seed: 1 });
    const replaced = (
      await pipe('a fox', {
        ...quick,
        seed: 3,
        callbackOnStepEnd: (_, step) => (step === 0 ? { latents: noise.alias() } : undefined),
      })
    ).images[0]!;
    const plain = (await pipe('a fox', { ...quick, seed: 3 })).images[0]!;
    expect(difference(replaced, plain)).toBeGreaterThan(2);
    noise.dispose();
  });

  test('an abort stops between steps, frees everything, and leaves the pipeline usable', async () => {
    const before = device.memory().live;
    const aborter = new AbortController();
    let steps = 0;
    const call = pipe('a fox', {
      ...quick,
      seed: 3,
      signal: aborter.signal,
      callbackOnStepEnd: () => {
        if (++steps === 2) aborter.abort();
      },
    });
    await expect(call).rejects.toThrow();
    expect(steps).toBe(2);
    expect(device.memory().live).toBe(before);
    expect((await pipe('a fox', { ...quick, seed: 3 })).images.length).toBe(1);
    expect(device.memory().live).toBe(before);
  });

  test('calls at once do not disturb each other', async () => {
    const draw = async (seed: number): Promise<Image> => (await pipe('a fox', { ...quick, seed })).images[0]!;
    const alone = [await draw(1), await draw(2)];
    const together = await Promise.all([draw(1), draw(2)]);
    expect(together.map((i) => i.data)).toEqual(alone.map((i) => i.data));
  });

  test('progress goes to the bar that was set', async () => {
    const seen: number[] = [];
    pipe.setProgressBarConfig({
      create: (total) => ({ update: (done) => void seen.push(done / total), stop: () => void seen.push(-1) }),
    });
    await pipe('a fox', { ...quick, seed: 3 });
    pipe.setProgressBarConfig({ disable: true });
    expect(seen.at(-2)).toBe(1);
    expect(seen.at(-1)).toBe(-1);
  });
});

describe('moving', () => {
  test('to another device and back gives the same picture and no leak', async () => {
    const other = await cpu({ threads: 1 });
    const before = device.memory().live;
    const image = (await pipe('a fox', { ...quick, seed: 3 })).images[0]!;
    await pipe.to(other);
    expect(device.memory().live).toBe(0);
    expect((await pipe('a fox', { ...quick, seed: 3 })).images[0]!.data).toEqual(image.data);
    await pipe.to(device);
    expect(other.memory().live).toBe(0);
    expect(device.memory().live).toBe(before);
    expect((await pipe('a fox', { ...quick, seed: 3 })).images[0]!.data).toEqual(image.data);
    other[Symbol.dispose]();
  });

  test('channels last, float16 and bfloat16 give nearly the same picture', async () => {
    const image = (await pipe('a fox', { ...quick, seed: 3 })).images[0]!;
    const copy = await StableDiffusionPipeline.fromPretrained(emoji, { device });
    copy.setProgressBarConfig({ disable: true });
    await copy.to({ memoryFormat: 'channelsLast' });
    expect(copy.unet.device).toBe(device);
    expect(difference((await copy('a fox', { ...quick, seed: 3 })).images[0]!, image)).toBeLessThan(1);
    await copy.to('float16');
    expect(difference((await copy('a fox', { ...quick, seed: 3 })).images[0]!, image)).toBeLessThan(3);
    await copy.to('bfloat16');
    expect(difference((await copy('a fox', { ...quick, seed: 3 })).images[0]!, image)).toBeLessThan(20);
    copy.dispose();
  });

  test('another scheduler by name, from the same configuration', async () => {
    const original = pipe.scheduler;
    pipe.useScheduler('EulerDiscreteScheduler');
    const { images } = await pipe('a fox on a blue background', { ...quick, numInferenceSteps: 15, seed: 1 });
    pipe.scheduler = original;
    const blue = corners(images[0]!);
    expect(blue[2]! - blue[0]!).toBeGreaterThan(60);
  });
});

test('a traced UNet gives the bits of the eager one, in both formats, and survives its file', async () => {
  const unet = pipe.unet as UNet2DConditionModel;
  for (const format of ['contiguous', 'channelsLast'] as const) {
    await unet.to({ memoryFormat: format });
    const noise = randomNormal([2, 4, 16, 16], { device, seed: 1 });
    const sample = toFormat(noise, format);
    const text = randomNormal([2, 77, 128], { device, seed: 2 });
    const params = unet.stateDict();
    const { graph, constants } = recordGraph(
      (x) => unet.call(x['sample']!, 321, { encoderHiddenStates: x['text']! }).sample,
      { sample, text },
      params,
    );
    expect(constants.size).toBe(0);
    const read = parseGraph(serializeGraph(graph), 'unet.graph.json');
    const replayed = runGraph(read, { sample, text }, { params, device });
    const eager = unet.call(sample, 321, { encoderHiddenStates: text }).sample;
    expect(await replayed['output']!.data()).toEqual(await eager.data());
    for (const t of [noise, sample, text, eager, replayed['output']!]) t.dispose();
  }
  await unet.to({ memoryFormat: 'contiguous' });
});

describe('bad arguments give one clear error, before anything runs', () => {
  const cases: readonly [string, object, string][] = [
    ['negative steps', { numInferenceSteps: -1 }, 'numInferenceSteps: must be an integer >= 1, got -1'],
    ['too many steps', { numInferenceSteps: 5000 }, '5000'],
    ['a width the VAE cannot make', { width: 65 }, "width: must be divisible by 4 (the VAE's scale), got 65"],
    ['guidance that is no number', { guidanceScale: NaN }, 'guidanceScale: must be a finite number, got NaN'],
    ['seeds of another count', { seed: [1, 2] }, '2 seeds for 1 images'],
    [
      'seed and generator',
      { seed: 1, generator: new TorchCpuGenerator(1) },
      'give seed or generator, not both',
    ],
    ['negative prompts of another count', { negativePrompt: ['a', 'b'] }, 'negativePrompt: 2 for 1 prompts'],
    [
      'an unknown output',
      { outputType: 'video' },
      "outputType: must be 'image', 'tensor' or 'latent', got 'video'",
    ],
    ['clipSkip beyond the layers', { clipSkip: 9 }, 'clipSkip must be at most 3'],
    ['timesteps and sigmas', { timesteps: [1], sigmas: [1] }, 'give timesteps or sigmas, not both'],
  ];
  test.each(cases)('%s', async (_, options, message) => {
    const before = device.memory().live;
    await expect(pipe('a fox', options)).rejects.toThrow(message);
    expect(device.memory().live).toBe(before);
  });

  test('no prompt, an empty list, a prompt that is no string', async () => {
    await expect(pipe(undefined)).rejects.toThrow('give either a prompt or promptEmbeds');
    await expect(pipe([])).rejects.toThrow('a list of at least one string');
    await expect(pipe([3 as unknown as string])).rejects.toThrow('must be a string');
  });

  test('latents of another shape', async () => {
    const latents = randomNormal([1, 4, 8, 8], { device, seed: 1 });
    await expect(pipe('a fox', { latents })).rejects.toThrow('latents: must be [1,4,16,16], got [1,4,8,8]');
    latents.dispose();
  });

  test('an empty prompt is fine, a huge one is cut with a warning', async () => {
    const { log } = await import('@darkroom/core');
    const warnings: string[] = [];
    const { warn } = log;
    log.warn = (message) => void warnings.push(message);
    const { images } = await pipe(['', 'a fox '.repeat(10000)], { ...quick, numInferenceSteps: 2, seed: 1 });
    log.warn = warn;
    expect(images.length).toBe(2);
    expect(warnings.join()).toContain('prompt is longer than 77 tokens');
  });
});

describe('numbers that overflowed', () => {
  /** A pipeline one of whose modules has a NaN in its bias. */
  async function broken(component: 'unet' | 'vae', path: string): Promise<StableDiffusionPipeline> {
    const other = await StableDiffusionPipeline.fromPretrained(emoji, { device });
    other.setProgressBarConfig({ disable: true });
    const modules = new Map((other[component] as unknown as AnyModule).namedModules());
    const layer = modules.get(path)!;
    const [, bias] = [...layer.ownParameters()].find(([key]) => key === 'bias')!;
    layer.setParameter('bias', keep(tensor(new Float32Array(bias.elements).fill(NaN), { device })));
    return other;
  }
  const call = { seed: 1, numInferenceSteps: 1 } as const;

  test.each([
    ['unet', 'mid_block.resnets.1.conv2', 'the denoising loop (unet)'],
    ['vae', 'decoder.mid_block.resnets.0.conv1', 'the decoder (vae)'],
  ] as const)('are refused as a picture; %s is named, and in debug mode %s', async (component, path, who) => {
    using other = await broken(component, path);
    await expect(other('a fox', call)).rejects.toThrow(`the picture has NaN, which ${who} made`);
    debug.checkFinite = true;
    try {
      await expect(other('a fox', call)).rejects.toThrow(`[${component}.${path}] conv2d: element 0`);
    } finally {
      debug.checkFinite = false;
    }
  });
});
