// SDXL: what its UNet is given, precision of its VAE, saving, errors. That its numbers are diffusers' is checked by the
// reference cases.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { tensor } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';
import type { Image } from '../image/image.ts';
import { temporaryFolder, tinyXL, watchUNet } from '../node/testing.ts';
import { DiffusionPipeline } from './auto.ts';
import { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let xl: StableDiffusionXLPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  xl = await tinyXL(device);
  xl.setProgressBarConfig({ disable: true });
});
afterAll(() => {
  xl.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});
const two = { numInferenceSteps: 2, seed: 1 } as const;

test('the UNet is told sizes and crop in diffusers’ order, and the pooled embedding of the second encoder', async () => {
  const before = device.memory().live;
  const seen = watchUNet(xl.unet);
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
  for (const t of [own.lastHiddenState, own.poolerOutput, own.textEmbeds!, ...own.hiddenStates]) t.dispose();
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
