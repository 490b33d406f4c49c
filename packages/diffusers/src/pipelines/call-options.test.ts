// Calls from JavaScript, which no type checker saw: whatever is given, a call draws or throws one error of ours that
// names the option, and leaves nothing on the device.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { DarkroomError, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { Image } from '../image/image.ts';
import { emoji, tinyXL } from '../node/testing.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionInpaintPipeline } from './stable-diffusion-inpaint.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import type { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';

const runs = fuzzRuns(150);
type Call = (prompt: unknown, options?: object) => Promise<unknown>;

let device: Device;
let pipe: StableDiffusionPipeline;
let xl: StableDiffusionXLPipeline;
let pipes: Record<string, Call>;
let onDevice: Tensor[];
const picture = new Image(32, 32, new Uint8ClampedArray(32 * 32 * 3).fill(90));
const small = { numInferenceSteps: 1, width: 32, height: 32, seed: 1, outputType: 'image' };
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  xl = await tinyXL(device);
  const image = StableDiffusionImg2ImgPipeline.fromPipe(pipe);
  const inpaint = StableDiffusionInpaintPipeline.fromPipe(pipe);
  for (const p of [pipe, xl, image, inpaint]) p.setProgressBarConfig({ disable: true });
  const call =
    (p: unknown, more: object): Call =>
    (prompt, options = {}) =>
      (p as Call)(prompt, { ...small, ...more, ...options });
  pipes = {
    text: call(pipe, {}),
    xl: call(xl, {}),
    image: call(image, { image: picture, strength: 1 }),
    inpaint: call(inpaint, { image: picture, maskImage: picture }),
  };
  onDevice = [
    tensor([1], { device }),
    tensor(new Float32Array(4 * 8 * 8), { shape: [1, 4, 8, 8], device }),
    tensor(new Float32Array(77 * 128), { shape: [1, 77, 128], device }),
  ];
});
afterAll(() => {
  for (const t of onDevice) t.dispose();
  pipe.dispose();
  xl.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const optionsOf: Readonly<Record<string, readonly string[]>> = {
  text: [
    'negativePrompt', 'numImagesPerPrompt', 'numInferenceSteps', 'timesteps', 'sigmas', 'guidanceScale',
    'guidanceRescale', 'eta', 'seed', 'generator', 'promptEmbeds', 'negativePromptEmbeds', 'clipSkip', 'width', 'height',
    'outputType', 'callbackOnStepEnd', 'callbackOnStepEndTensors', 'signal', 'latents',
  ], // prettier-ignore
  image: ['image', 'strength'],
  inpaint: ['image', 'maskImage', 'strength', 'maskedImageLatents'],
  xl: [
    'prompt2', 'negativePrompt2', 'pooledPromptEmbeds', 'negativePooledPromptEmbeds', 'originalSize',
    'cropsCoordsTopLeft', 'targetSize', 'negativeOriginalSize', 'negativeTargetSize', 'denoisingEnd',
  ], // prettier-ignore
};

/** A value of any kind; tensors by their number, made when the call is. */
const junk = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    '',
    '4',
    'abc',
    0,
    -1,
    0.5,
    2,
    1e9,
    NaN,
    Infinity,
    -Infinity,
    2 ** 31,
    10n,
  ),
  fc.constantFrom([], {}, [1], ['a'], [null], [[1, 2]], [1, 2], { length: 2 }, () => 1, new Date(0), picture),
  fc.record({ tensor: fc.nat(2) }),
);
const fill = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'tensor' in value
    ? onDevice[(value as { tensor: number }).tensor]
    : value;

test('any value for any option: a picture, or one error of ours that is short; nothing stays', async () => {
  const before = device.memory().live;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('text', 'image', 'inpaint', 'xl').chain((kind) =>
        fc.record({
          kind: fc.constant(kind),
          prompt: fc.oneof(
            { weight: 4, arbitrary: fc.constant<unknown>('a fox') },
            { weight: 1, arbitrary: junk },
          ),
          options: fc.dictionary(fc.constantFrom(...optionsOf[kind]!, ...optionsOf['text']!), junk, {
            minKeys: 1,
            maxKeys: 2,
          }),
        }),
      ),
      async ({ kind, prompt, options }) => {
        const filled = Object.fromEntries(Object.entries(options).map(([k, v]) => [k, fill(v)]));
        try {
          const out = (await pipes[kind]!(fill(prompt), filled)) as { tensor?: Tensor };
          out.tensor?.dispose();
        } catch (error) {
          expect(error, String((error as Error).stack)).toBeInstanceOf(DarkroomError);
          expect((error as Error).message.length).toBeLessThan(600);
        }
        expect(device.memory().live).toBe(before);
      },
    ),
    runs,
  );
});

describe('the message names the option, the rule and the value', () => {
  const cases: readonly (readonly [string, unknown, object, string])[] = [
    ['text', 'a fox', { num_inference_steps: 5 }, "there is no option 'num_inference_steps'; did you mean 'numInferenceSteps'?"],
    ['inpaint', 'a fox', { paddingMaskCrop: 8 }, "StableDiffusionInpaintPipeline: there is no option 'paddingMaskCrop'"],
    ['text', 'a fox', { image: 1 }, "StableDiffusionPipeline: there is no option 'image'"],
    ['text', null, {}, 'prompt: give either a prompt or promptEmbeds'],
    ['text', {}, {}, 'prompt: must be a string or a list of at least one string, got an object'],
    ['text', ['a', 3], {}, 'prompt: must be a string or a list of at least one string, got a list with 3'],
    ['text', 'a fox', { guidanceScale: '4' }, 'guidanceScale: must be a finite number, got the string "4"'],
    ['text', 'a fox', { seed: '4' }, 'seed: must be an integer of at most 2^53 (use a bigint beyond), got the string "4"'],
    ['text', 'a fox', { latents: [1] }, 'latents: must be a tensor, got a list of 1'],
    ['text', 'a fox', { signal: 5 }, 'signal: must be an AbortSignal, got 5'],
    ['text', 'a fox', { callbackOnStepEnd: 5 }, 'callbackOnStepEnd: must be a function, got 5'],
    ['text', 'a fox', { callbackOnStepEndTensors: 'latents' }, 'callbackOnStepEndTensors: must be a list of names, got the string "latents"'],
    ['text', 'a fox', { callbackOnStepEndTensors: ['latent'] }, "'latent'"],
    ['text', 'a fox', { seed: undefined, generator: 5 }, 'generator: must be a Generator or a list of them, got 5'],
    ['text', 'a fox', { timesteps: 5 }, 'timesteps: must be a list of numbers, got 5'],
    ['image', 'a fox', { strength: '0.5' }, 'strength: must be from 0 to 1, got the string "0.5"'],
    ['image', 'a fox', { image: null }, 'image: must be an Image'],
    ['xl', 'a fox', { targetSize: 5 }, 'targetSize: must be two numbers of pixels, got 5'],
    ['xl', 'a fox', { prompt2: 5 }, 'prompt2: must be a string or a list of at least one string, got 5'],
  ]; // prettier-ignore
  test.each(cases)('%s(%j, %j)', async (kind, prompt, options, message) => {
    await expect(pipes[kind]!(prompt, options)).rejects.toThrow(message);
  });

  test('options of other functions are checked as well', async () => {
    const load = (options: object): Promise<unknown> =>
      StableDiffusionPipeline.fromPretrained(emoji, options as { device: Device });
    await expect(load({ device, torch_dtype: 'float16' })).rejects.toThrow(
      "fromPretrained: there is no option 'torch_dtype'",
    );
    await expect(load({})).rejects.toThrow('fromPretrained: needs a device');
    await expect(load({ device: 'cpu' })).rejects.toThrow(
      'needs a device, as in { device: await cpu() }, got the string "cpu"',
    );
    const odd = { groupsize: 3 } as object;
    expect(() => pipe.enableSequentialCpuOffload(odd)).toThrow(
      "no option 'groupsize'; did you mean 'groupSize'?",
    );
    expect(() => pipe.enableTracing(odd)).toThrow("enableTracing: there is no option 'groupsize'");
    expect(() => pipe.setProgressBarConfig(odd)).toThrow(
      "setProgressBarConfig: there is no option 'groupsize'",
    );
    expect(() => pipe.enableVaeTiling(odd)).toThrow("there is no option 'groupsize'");
    await expect(pipe.to(odd)).rejects.toThrow("to: there is no option 'groupsize'");
  });
});

describe('a call that no device could hold', () => {
  test.each([
    [{ width: 1048576, height: 1048576 }, '1 image of 1048576x1048576'],
    [{ width: 100000, height: 100000 }, '1 image of 100000x100000'],
    [{ numImagesPerPrompt: 1e9 }, '1000000000 images of 32x32'],
    [{ numImagesPerPrompt: 1_000_000 }, '1000000 images of 32x32'],
    [{ width: 32768, height: 32768, outputType: 'latent', guidanceScale: 1 }, '1 image of 32768x32768'],
  ])('%j is refused with both numbers, before anything is drawn', async (options, asked) => {
    let drawn = 0;
    const generator = new TorchCpuGenerator(1);
    const randn = generator.randn.bind(generator);
    generator.randn = (...args) => (drawn++, randn(...args));
    const call = pipes['text']!('a fox', { ...options, generator, seed: undefined });
    await expect(call).rejects.toThrow(
      new RegExp(`^generate: ${asked} .* needs [0-9.]+ GiB for one tensor \\[.*cpu holds 4.00 GiB`),
    );
    await expect(call).rejects.toMatchObject({ name: 'OutOfMemoryError' });
    expect(drawn).toBe(0);
  });

  test('a call that fits in slices or tiles is not refused', async () => {
    const wide = { width: 8192, height: 8192 } as const;
    const aborter = new AbortController();
    aborter.abort(new Error('it would have been drawn'));
    await expect(pipes['text']!('a fox', wide)).rejects.toThrow('the vae then needs');
    pipe.enableVaeTiling();
    await expect(pipes['text']!('a fox', { ...wide, signal: aborter.signal })).rejects.toThrow(
      'it would have',
    );
    pipe.disableVaeTiling();
  });
});

describe("SDXL's second prompt", () => {
  const draw = async (prompt: unknown, options: object): Promise<unknown> =>
    ((await pipes['xl']!(prompt, options)) as { images: Image[] }).images.map((image) => [...image.data]);

  test("'' and [] mean the first one's, '' within a list is the empty text", async () => {
    const plain = await draw('a fox', { negativePrompt: 'a hat' });
    for (const nothing of ['', []])
      expect(
        await draw('a fox', { negativePrompt: 'a hat', prompt2: nothing, negativePrompt2: nothing }),
      ).toEqual(plain);
    expect(await draw('a fox', { negativePrompt: 'a hat', prompt2: [''] })).not.toEqual(plain);
    expect(await draw('a fox', { negativePrompt: 'a hat', negativePrompt2: [''] })).not.toEqual(plain);
    const two = await draw(['a fox', 'a clover'], { seed: [1, 2], negativePrompt: 'a hat' });
    expect(
      await draw(['a fox', 'a clover'], {
        seed: [1, 2],
        negativePrompt: 'a hat',
        prompt2: '',
        negativePrompt2: '',
      }),
    ).toEqual(two);
  });
});
