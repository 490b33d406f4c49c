// Image to image and inpainting: what each does to a picture, what their UNets are given, shared components,
// errors, and that nothing stays behind. That their numbers are diffusers' is checked by the reference cases.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { tensor } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { Image } from '../image/image.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { emoji, emojiConfig, randomWeights, temporaryFolder, watchUNet } from '../node/testing.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { DiffusionPipeline } from './auto.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionInpaintPipeline } from './stable-diffusion-inpaint.ts';
import { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let text: StableDiffusionPipeline;
let img2img: StableDiffusionImg2ImgPipeline;
let inpaint: StableDiffusionInpaintPipeline;
let fox: Image;
const quick = { numInferenceSteps: 8, guidanceScale: 4, seed: 3 } as const;

beforeAll(async () => {
  device = await cpu({ threads: 2 });
  text = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  img2img = new StableDiffusionImg2ImgPipeline(text.components);
  inpaint = StableDiffusionInpaintPipeline.fromPipe(text);
  for (const pipe of [text, img2img, inpaint]) pipe.setProgressBarConfig({ disable: true });
  fox = (await text('a fox on a blue background', quick)).images[0]!;
});
afterAll(() => {
  text.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

/** Mean absolute difference, in 0 … 255, of the columns from … to - 1. */
function difference(a: Image, b: Image, from = 0, to = a.width): number {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < a.data.length; i++) {
    const x = Math.floor(i / 3) % a.width;
    if (x < from || x >= to) continue;
    sum += Math.abs(a.data[i]! - b.data[i]!);
    count++;
  }
  return sum / count;
}

/** Columns from … on are white: painted anew. */
function maskFrom(column: number, width = 64, height = 64): Image {
  const data = new Uint8ClampedArray(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = Math.floor(i / 3) % width >= column ? 255 : 0;
  return new Image(width, height, data);
}

describe('image to image', () => {
  test('a small strength keeps the picture, a larger one changes more; the steps run are int(n · strength)', async () => {
    const draw = async (strength: number): Promise<[number, number]> => {
      let steps = 0;
      const { images } = await img2img('a pizza on a red background', {
        ...quick,
        numInferenceSteps: 20,
        image: fox,
        strength,
        callbackOnStepEnd: (_, step) => {
          expect(step).toBe(steps++);
        },
      });
      expect([images[0]!.width, images[0]!.height]).toEqual([64, 64]);
      return [difference(images[0]!, fox), steps];
    };
    const [little, middle, much] = [await draw(0.1), await draw(0.5), await draw(1)];
    // PNDM visits its second timestep twice, so the part at the end has one step more than asked for.
    expect([little[1], middle[1], much[1]]).toEqual([3, 11, 21]);
    expect(little[0]).toBeLessThan(20);
    expect(middle[0]).toBeGreaterThan(little[0]);
    expect(much[0]).toBeGreaterThan(middle[0]);
  });

  test('the size is the picture’s, rounded down, unless given; latents stand in for a picture', async () => {
    const odd = new Image(50, 43, new Uint8ClampedArray(50 * 43 * 3).fill(200));
    const two = { ...quick, numInferenceSteps: 2 };
    const own = (await img2img('a fox', { ...two, image: odd })).images[0]!;
    expect([own.width, own.height]).toEqual([48, 40]);
    const given = (await img2img('a fox', { ...two, image: odd, width: 64, height: 32 })).images[0]!;
    expect([given.width, given.height]).toEqual([64, 32]);
    const latents = tensor(new Float32Array(4 * 8 * 12), { shape: [1, 4, 8, 12], device });
    const fromLatents = (await img2img('a fox', { ...two, image: latents })).images[0]!;
    expect([fromLatents.width, fromLatents.height]).toEqual([48, 32]);
    latents.dispose();
  });

  test('one picture serves every image of a batch, each with its own seed; the batch equals each alone', async () => {
    const options = { ...quick, image: fox, strength: 0.6 };
    const { images, seeds } = await img2img(['a fox', 'a pizza'], { ...options, seed: [7, 8] });
    expect(seeds).toEqual([7, 8]);
    const alone = (await img2img('a pizza', { ...options, seed: 8 })).images[0]!;
    expect(difference(images[1]!, alone)).toBeLessThan(1);
    expect(difference(images[0]!, images[1]!)).toBeGreaterThan(2);
  });

  test('an abort frees everything', async () => {
    const before = device.memory().live;
    const aborter = new AbortController();
    const options = { ...quick, image: fox, signal: aborter.signal };
    await expect(
      img2img('a fox', { ...options, callbackOnStepEnd: () => aborter.abort() }),
    ).rejects.toThrow();
    expect(device.memory().live).toBe(before);
  });

  const bad: readonly [string, object, string][] = [
    ['no image', { image: undefined }, 'image: is missing'],
    ['a strength above 1', { strength: 1.2 }, 'strength: must be from 0 to 1, got 1.2'],
    ['a strength that is no number', { strength: NaN }, 'strength: must be from 0 to 1, got NaN'],
    [
      'a strength that runs no step',
      { strength: 0.05 },
      'strength: 0.05 of 8 steps leaves none to run; needs at least 0.125',
    ],
    [
      'an unknown tensor',
      { callbackOnStepEndTensors: ['mask'] },
      "must be of promptEmbeds, latents, got 'mask'",
    ],
  ];
  test.each(bad)('%s is one clear error that leaves nothing behind', async (_, options, message) => {
    const before = device.memory().live;
    await expect(img2img('a fox', { ...quick, image: fox, ...options })).rejects.toThrow(message);
    expect(device.memory().live).toBe(before);
  });

  test('more images than pictures', async () => {
    await expect(img2img('a fox', { ...quick, image: [fox, fox] })).rejects.toThrow(
      'image: 2 cannot be shared out over 1 pictures',
    );
  });
});

describe('inpainting', () => {
  test('with a UNet of 4 channels the latents under black stay the picture’s, those under white are painted', async () => {
    const draw = async (prompt: string, column: number): Promise<readonly number[]> => {
      const options = { ...quick, image: fox, maskImage: maskFrom(column), outputType: 'latent' } as const;
      const { tensor: latents } = await inpaint(prompt, options);
      const values = [...(await latents!.data())];
      latents!.dispose();
      return values;
    };
    const kept = await draw('a pizza', 64); // nothing is painted
    expect(await draw('a car on a red background', 64)).toEqual(kept);
    const half = await draw('a pizza', 32);
    const left = (values: readonly number[]): number[] => values.filter((_, i) => i % 16 < 8);
    expect(left(half)).toEqual(left(kept));
    const changed = half.filter((v, i) => i % 16 >= 8 && v !== kept[i]).length;
    expect(changed).toBe(half.length / 2);
  });

  test('the repainted part fits the kept part', async () => {
    const options = { ...quick, numInferenceSteps: 15, image: fox, maskImage: maskFrom(32) };
    const { images } = await inpaint('a fox on a blue background', options);
    expect(difference(images[0]!, fox)).toBeLessThan(10);
    expect(images[0]!.data).not.toEqual(fox.data);
  });

  test('below strength 1 it starts from the picture: fewer steps, nearer to it', async () => {
    const draw = async (strength: number): Promise<Image> =>
      (await inpaint('a fox', { ...quick, image: fox, maskImage: maskFrom(0), strength })).images[0]!;
    expect(difference(await draw(0.25), fox)).toBeLessThan(difference(await draw(1), fox));
  });

  test('a UNet of 9 channels reads latents, mask and the latents of the masked picture', async () => {
    const before = device.memory().live;
    const unet = randomWeights(
      UNet2DConditionModel.fromConfig(emojiConfig('unet', { in_channels: 9 })),
      device,
    );
    const nine = new StableDiffusionInpaintPipeline({ ...text.components, unet });
    nine.setProgressBarConfig({ disable: true });
    const seen = watchUNet(unet);
    const kept: number[] = [];
    await nine('a fox', {
      ...quick,
      numInferenceSteps: 2,
      image: fox,
      maskImage: maskFrom(32),
      outputType: 'latent',
      callbackOnStepEndTensors: ['latents', 'maskedImageLatents'],
      callbackOnStepEnd: async (_, __, ___, { maskedImageLatents }) => {
        kept.push(...(await maskedImageLatents!.data()));
      },
    }).then(({ tensor: t }) => t!.dispose());
    seen.end();
    const { sample, shape } = seen.calls[0]!;
    expect(shape).toEqual([2, 9, 16, 16]);
    const plane = 256;
    const mask = sample.slice(4 * plane, 5 * plane);
    expect(mask).toEqual(Array.from({ length: plane }, (_, i) => (i % 16 >= 8 ? 1 : 0)));
    expect(sample.slice(5 * plane, 9 * plane)).toEqual(kept.slice(0, 4 * plane));
    expect(sample.slice(0, 9 * plane)).toEqual(sample.slice(9 * plane)); // both halves of guidance
    unet.dispose();
    expect(device.memory().live).toBe(before);
  });

  test('a UNet with channels for something else is refused by name', async () => {
    const config = (inChannels: number): UNet2DConditionModel =>
      UNet2DConditionModel.fromConfig(emojiConfig('unet', { in_channels: inChannels }));
    const eight = new StableDiffusionInpaintPipeline({ ...text.components, unet: config(8) });
    await expect(eight('a', { image: fox, maskImage: fox })).rejects.toThrow(
      'StableDiffusionInpaintPipeline: the UNet must take 4 or 9 channels (the VAE has 4), this one takes 8',
    );
    const nine = new StableDiffusionPipeline({ ...text.components, unet: config(9) });
    await expect(nine('a')).rejects.toThrow('it is one for inpainting, for StableDiffusionInpaintPipeline');
  });

  test('masks of another count, and none at all', async () => {
    await expect(inpaint('a', { image: fox, maskImage: undefined as unknown as Image })).rejects.toThrow(
      'maskImage: is missing',
    );
    await expect(inpaint('a', { image: fox, maskImage: [fox, fox] })).rejects.toThrow(
      'maskImage: 2 cannot be shared out over 1 pictures',
    );
  });
});

describe('components', () => {
  test('shared ones are the same objects; dtype and index come along with fromPipe', () => {
    expect(img2img.unet).toBe(text.unet);
    const half = new StableDiffusionPipeline(text.components, { computeDtype: 'float16', index: text.index });
    const other = StableDiffusionImg2ImgPipeline.fromPipe(half);
    expect(other.computeDtype).toBe('float16');
    expect(other.index).toBe(text.index);
    expect(() => StableDiffusionXLPipeline.fromPipe(text)).toThrow(
      "fromPipe: a StableDiffusionXLPipeline needs 'textEncoder2', a component that a StableDiffusionPipeline has not",
    );
  });

  test('the class of model_index.json is taken; an unknown one lists the known', async () => {
    const folder = temporaryFolder();
    await inpaint.savePretrained(folder.path);
    const pipe = await DiffusionPipeline.fromPretrained(folder.path, { device });
    expect(pipe).toBeInstanceOf(StableDiffusionInpaintPipeline);
    pipe.index = { ...pipe.index, note: 'kept' };
    pipe.dispose();
    const { writeFileSync } = await import('node:fs');
    writeFileSync(`${folder.path}/model_index.json`, '{"_class_name": "FluxPipeline"}');
    await expect(DiffusionPipeline.fromPretrained(folder.path, { device })).rejects.toThrow(
      '_class_name is "FluxPipeline", known are StableDiffusionPipeline, StableDiffusionImg2ImgPipeline',
    );
    folder.remove();
  });

  test('one generator draws for the picture first, then for the noise', async () => {
    const draws: number[] = [];
    const torch = new TorchCpuGenerator(1);
    const counting = {
      seed: 1n,
      randn: (count: number, dtype: 'float32' | 'float16' | 'bfloat16') => {
        draws.push(count);
        return torch.randn(count, dtype);
      },
      clone: () => counting,
    };
    const { seed: _, ...options } = quick;
    await img2img(['a fox', 'a pizza'], { ...options, image: fox, generator: counting });
    expect(draws).toEqual([4 * 16 * 16, 2 * 4 * 16 * 16]);
    draws.length = 0;
    await inpaint('a fox', { ...options, image: fox, maskImage: maskFrom(32), generator: counting });
    expect(draws).toEqual([1024, 1024, 1024]); // picture, noise, masked picture
    draws.length = 0;
    await inpaint(['a fox', 'a pizza'], {
      ...options,
      image: fox,
      maskImage: [maskFrom(32), maskFrom(16)],
      generator: counting,
    });
    expect(draws).toEqual([1024, 2048, 2048]);
  });
});
