// Image to image, inpainting and SDXL: what each does to a picture, what their UNets are given, shared components,
// errors, and that nothing stays behind. That their numbers are diffusers' is checked by the reference cases.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { keep, tensor } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import type { AddedCond, Conditioning } from '../models/conditioning.ts';
import { emoji, emojiConfig, randomWeights, temporaryFolder, tinyXL } from '../node/testing.ts';
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

/** What the UNet was called with, one entry a call. */
function watch(unet: unknown): {
  calls: { sample: number[]; shape: readonly number[]; addedCond?: AddedCond }[];
  end(): void;
} {
  const module = unet as AnyModule;
  const calls: { sample: number[]; shape: readonly number[]; addedCond?: AddedCond }[] = [];
  module.addHook({
    name: 'watch',
    preForward(_, args) {
      const [sample, , { addedCond: added }] = args as [Tensor, number, Conditioning];
      calls.push({
        sample: [...sample.dataSync()],
        shape: sample.shape,
        ...(added && {
          addedCond: { textEmbeds: keep(added.textEmbeds.alias()), timeIds: keep(added.timeIds.alias()) },
        }),
      });
    },
  });
  return {
    calls,
    end: () => {
      module.removeHook('watch');
      for (const { addedCond } of calls) {
        addedCond?.textEmbeds.dispose();
        addedCond?.timeIds.dispose();
      }
    },
  };
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

  test('what is painted fits what is kept', async () => {
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
    const seen = watch(unet);
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

describe('SDXL', () => {
  let xl: StableDiffusionXLPipeline;
  beforeAll(async () => {
    xl = await tinyXL(device);
    xl.setProgressBarConfig({ disable: true });
  });
  afterAll(() => xl.dispose());
  const two = { numInferenceSteps: 2, seed: 1 } as const;

  test('the UNet is told sizes and crop in diffusers’ order, and the pooled embedding of the second encoder', async () => {
    const before = device.memory().live;
    const seen = watch(xl.unet);
    const { images } = await xl(['a fox', 'a pizza'], {
      ...two,
      height: 32,
      width: 48,
      originalSize: [100, 200],
      cropsCoordsTopLeft: [3, 4],
      negativeOriginalSize: [5, 6],
      negativeTargetSize: [7, 8],
    });
    expect(images.map(({ width, height }) => [width, height])).toEqual([
      [48, 32],
      [48, 32],
    ]);
    const { textEmbeds, timeIds } = seen.calls[0]!.addedCond!;
    const [negative, positive] = [
      [5, 6, 0, 0, 7, 8],
      [100, 200, 3, 4, 32, 48],
    ] as const;
    expect(timeIds.shape).toEqual([4, 6]);
    expect([...(await timeIds.data())]).toEqual([...negative, ...positive, ...negative, ...positive]);
    const pooled = [...(await textEmbeds.data())];
    expect(textEmbeds.shape).toEqual([4, 32]);
    expect(pooled.slice(0, 64).every((v) => v === 0)).toBe(true); // no negative prompt: zeros
    const ids = ['a fox', 'a pizza'].map((t) => xl.tokenizer2.encode(t).ids);
    const own = xl.textEncoder2.call(ids);
    const wanted = [...(await own.textEmbeds!.data())];
    expect(pooled.slice(64)).toEqual(wanted);
    for (const t of [own.lastHiddenState, own.poolerOutput, own.textEmbeds!, ...own.hiddenStates])
      t.dispose();
    seen.end();
    expect(device.memory().live).toBe(before);
  });

  test('an empty negative prompt is not the same as none, unless zeros are switched off', async () => {
    const draw = async (options: object): Promise<Image> =>
      (await xl('a fox', { ...two, width: 32, height: 32, ...options })).images[0]!;
    const none = await draw({});
    const empty = await draw({ negativePrompt: '' });
    expect(empty.data).not.toEqual(none.data);
    xl.forceZerosForEmptyPrompt = false;
    expect((await draw({})).data).toEqual(empty.data);
    xl.forceZerosForEmptyPrompt = true;
    expect((await draw({ prompt2: 'a pizza' })).data).not.toEqual(none.data);
    expect((await draw({ prompt2: 'a fox' })).data).toEqual(none.data);
    expect((await draw({ clipSkip: 1 })).data).not.toEqual(none.data);
  });

  test('denoisingEnd leaves the rest of the noise in the latents', async () => {
    let steps = 0;
    const options = { numInferenceSteps: 10, seed: 1, width: 32, height: 32, outputType: 'latent' } as const;
    const { tensor: latents } = await xl('a fox', {
      ...options,
      denoisingEnd: 0.5,
      callbackOnStepEnd: () => void steps++,
    });
    latents!.dispose();
    expect(steps).toBe(6); // PNDM: one step is taken twice
  });

  test('in float16 the VAE decodes in float32 where its config says force_upcast, else not', async () => {
    const dtypes: string[] = [];
    const vae = xl.vae as unknown as AnyModule;
    vae.addHook({
      name: 'watch',
      preForward: (_, args) => void dtypes.push((args[0] as Tensor).dtype),
    });
    const draw = async (pipe: StableDiffusionXLPipeline): Promise<void> => {
      pipe.setProgressBarConfig({ disable: true });
      await pipe('a fox', { ...two, width: 32, height: 32 });
    };
    await draw(new StableDiffusionXLPipeline(xl.components, { computeDtype: 'float16' }));
    await draw(new StableDiffusionXLPipeline(xl.components, { computeDtype: 'bfloat16' }));
    (xl.vae.config as Record<string, unknown>)['force_upcast'] = false;
    await draw(new StableDiffusionXLPipeline(xl.components, { computeDtype: 'float16' }));
    (xl.vae.config as Record<string, unknown>)['force_upcast'] = true;
    vae.removeHook('watch');
    expect(dtypes).toEqual(['float32', 'bfloat16', 'float16']);
  });

  test('saved, it is loaded by its class name; as another class it is refused', async () => {
    const folder = temporaryFolder();
    await xl.savePretrained(folder.path);
    const again = await DiffusionPipeline.fromPretrained(folder.path, { device });
    expect(again).toBeInstanceOf(StableDiffusionXLPipeline);
    again.setProgressBarConfig({ disable: true });
    const call = { ...two, width: 32, height: 32 };
    const [a, b] = [await xl('a fox', call), await (again as StableDiffusionXLPipeline)('a fox', call)];
    expect(b.images[0]!.data).toEqual(a.images[0]!.data);
    again.dispose();
    await expect(StableDiffusionPipeline.fromPretrained(folder.path, { device })).rejects.toThrow(
      "a StableDiffusionPipeline has no 'text_encoder_2'; the folder is of a StableDiffusionXLPipeline",
    );
    folder.remove();
  });

  const bad: readonly [string, object, string][] = [
    ['prompt2 of another count', { prompt2: ['a', 'b'] }, 'prompt2: 2 for 1 prompts'],
    ['negativePrompt2 of another count', { negativePrompt2: ['a', 'b'] }, 'negativePrompt2: 2 for 1 prompts'],
    ['a size that is no pair', { originalSize: [1] }, 'originalSize: must be two numbers of pixels, got [1]'],
    ['denoisingEnd out of range', { denoisingEnd: 1 }, 'denoisingEnd: must be above 0 and below 1, got 1'],
    ['clipSkip beyond the layers', { clipSkip: 3 }, 'clipSkip: must be at most 2'],
  ];
  test.each(bad)('%s is one clear error', async (_, options, message) => {
    const before = device.memory().live;
    await expect(xl('a fox', { ...two, ...options })).rejects.toThrow(message);
    expect(device.memory().live).toBe(before);
  });

  test('embeddings need their pooled ones', async () => {
    const promptEmbeds = tensor(new Float32Array(77 * 192), { shape: [1, 77, 192], device });
    await expect(xl(undefined, { ...two, promptEmbeds })).rejects.toThrow(
      'pooledPromptEmbeds: must be given together with promptEmbeds',
    );
    promptEmbeds.dispose();
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
