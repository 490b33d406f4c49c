// Whole steps traced: the pictures of the eager loop, one replay a step, and memory that goes back.

import type { Device, Tensor } from '@darkroom/core';
import { mul } from '@darkroom/core';
import { cpu } from '@darkroom/backend-cpu';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Image } from '../image/image.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { emoji, emojiConfig, randomWeights, tinyXL } from '../node/testing.ts';
import type { StableDiffusionOutput } from './options.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionInpaintPipeline } from './stable-diffusion-inpaint.ts';
import type { StableDiffusionXLPipeline } from './stable-diffusion-xl.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import type { StableDiffusionOptions } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
let img2img: StableDiffusionImg2ImgPipeline;
let inpaint: StableDiffusionInpaintPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  img2img = new StableDiffusionImg2ImgPipeline(pipe.components);
  inpaint = new StableDiffusionInpaintPipeline(pipe.components);
  for (const p of [pipe, img2img, inpaint]) p.setProgressBarConfig({ disable: true });
});
afterAll(() => {
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const call = { numInferenceSteps: 7, guidanceScale: 4, seed: 7, outputType: 'latent' } as const;
async function valuesOf(output: Promise<StableDiffusionOutput>): Promise<number[]> {
  const { tensor } = await output;
  const values = [...(await tensor!.data())];
  tensor!.dispose();
  return values;
}
const draw = (options: StableDiffusionOptions = {}): Promise<number[]> =>
  valuesOf(pipe('a fox', { ...call, ...options }));

/** The same call eagerly and traced, twice: with and without traces of an earlier call. */
async function compare<P extends typeof pipe | typeof img2img | typeof inpaint | StableDiffusionXLPipeline>(
  traced: P,
  output: () => Promise<StableDiffusionOutput>,
): Promise<void> {
  const eager = await valuesOf(output());
  const live = device.memory().live;
  traced.enableTracing();
  expect(await valuesOf(output())).toEqual(eager);
  expect(traced.tracedSteps.map((t) => t.summary())).toContainEqual(
    expect.stringMatching(/latents: float32\[.*ops → \d+ kernels/),
  );
  expect(await valuesOf(output())).toEqual(eager);
  traced.disableTracing();
  expect(device.memory().live).toBe(live);
}

test.each([
  'DDIMScheduler', 'DDPMScheduler', 'PNDMScheduler', 'EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler',
  'HeunDiscreteScheduler', 'LMSDiscreteScheduler', 'DPMSolverMultistepScheduler', 'UniPCMultistepScheduler', 'LCMScheduler',
])('%s: the bits of the eager loop', async (className) => {
  const { scheduler } = pipe;
  pipe.useScheduler(className);
  await compare(pipe, () => pipe('a fox', call)).finally(() => (pipe.scheduler = scheduler));
}); // prettier-ignore

describe('whole steps', () => {
  test.each<[string, StableDiffusionOptions]>([
    ['without guidance', { guidanceScale: 1 }],
    ['with rescaled guidance', { guidanceRescale: 0.7 }],
    ['two pictures', { numImagesPerPrompt: 2, seed: [1, 2] }],
    ['with eta', { eta: 0.5 }],
  ])('%s: the bits of the eager loop', (_, options) =>
    compare(pipe, () => pipe('a fox', { ...call, ...options })),
  );

  test('a picture, a mask that the step reads, and one that the UNet reads', async () => {
    const image = new Image(64, 64, new Uint8ClampedArray(64 * 64 * 3).map((_, i) => (i * 7) % 256));
    const maskImage = new Image(64, 64, new Uint8ClampedArray(64 * 64 * 3).map((_, i) => (i % 192 < 96 ? 0 : 255)));
    const long = { ...call, numInferenceSteps: 10, image };
    await compare(img2img, () => img2img('a fox', { ...long, strength: 0.8 }));
    await compare(inpaint, () => inpaint('a fox', { ...long, maskImage }));
    const unet = randomWeights(UNet2DConditionModel.fromConfig(emojiConfig('unet', { in_channels: 9 })), device);
    const nine = new StableDiffusionInpaintPipeline({ ...pipe.components, unet });
    nine.setProgressBarConfig({ disable: true });
    await compare(nine, () => nine('a fox', { ...long, maskImage }));
    unet.dispose();
  }); // prettier-ignore

  test('a distilled UNet, which reads the guidance scale', async () => {
    const config = emojiConfig('unet', { time_cond_proj_dim: 24 });
    const unet = randomWeights(UNet2DConditionModel.fromConfig(config), device);
    const distilled = new StableDiffusionPipeline({ ...pipe.components, unet });
    distilled.setProgressBarConfig({ disable: true });
    distilled.useScheduler('LCMScheduler');
    await compare(distilled, () => distilled('a fox', call));
    unet.dispose();
  });

  test('SDXL, whose UNet also reads sizes', async () => {
    const xl = await tinyXL(device);
    xl.setProgressBarConfig({ disable: true });
    await compare(xl, () => xl('a fox', { ...call, width: 32, height: 48 }));
    xl.dispose();
  });

  test('a second picture is one replay a step: nothing is dispatched or read but the numbers', async () => {
    const { scheduler } = pipe;
    pipe.useScheduler('DDIMScheduler');
    pipe.enableTracing();
    await draw();
    const runs: string[] = [];
    const { backend } = device;
    const own = { run: backend.run, read: backend.read, write: backend.write, compile: backend.compile };
    const watch = (name: 'run' | 'read' | 'write'): void => {
      const method = (own[name] as (...args: unknown[]) => unknown).bind(backend);
      Object.assign(backend, { [name]: (...args: unknown[]) => (runs.push(name), method(...args)) });
    };
    let steps: string[][] = [];
    try {
      for (const name of ['run', 'read', 'write'] as const) watch(name);
      await draw({ callbackOnStepEnd: () => void (steps.push(runs.splice(0)), undefined) });
    } finally {
      for (const name of ['run', 'read', 'write'] as const) Reflect.deleteProperty(backend, name);
      pipe.scheduler = scheduler;
    }
    // The first step also has what stands before the loop; then: numbers to the device, inputs to their slots, replay.
    steps = steps.slice(1);
    expect(steps.length).toBeGreaterThanOrEqual(call.numInferenceSteps - 1);
    for (const step of steps) {
      expect(step).not.toContain('read');
      expect(step.length).toBeLessThanOrEqual(6);
    }
    pipe.disableTracing();
  });

  test('callbacks see and replace latents, and stop the loop', async () => {
    const replaced = async (): Promise<number[]> =>
      draw({
        callbackOnStepEnd: (p, step, _, { latents }) => {
          if (step === 4) p.interrupt = true;
          return step === 2 ? { latents: mul(latents, 0.5) } : {};
        },
      });
    const eager = await replaced();
    pipe.enableTracing();
    expect(await replaced()).toEqual(eager);
    expect(await replaced()).toEqual(eager);
    pipe.disableTracing();
  });

  test('a traced UNet, another size, other weights and another attention go on working', async () => {
    pipe.enableTracing();
    const eager = await draw();
    pipe.disableTracing();
    pipe.enableTracing();
    await draw();
    const wide = await draw({ width: 96 });
    pipe.enableAttentionSlicing(1);
    expect(await draw()).toEqual(eager);
    pipe.disableAttentionSlicing();
    expect(await draw({ width: 96 })).toEqual(wide);
    pipe.disableTracing();
    expect(await draw({ width: 96 })).toEqual(wide);
  });

  test('what cannot be traced says so', async () => {
    const { unet } = pipe;
    pipe.enableTracing();
    pipe.unet = { config: unet.config, device, dtype: unet.dtype, forward: (x: Tensor) => x };
    await expect(draw()).rejects.toThrow('enableTracing: the unet has no stateDict() that names its weights');
    pipe.unet = unet;
    pipe.disableTracing();
  });
});
