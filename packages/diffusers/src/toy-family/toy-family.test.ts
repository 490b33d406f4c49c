// A second family of models, made in this folder alone: what a pipeline can do, it does too.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import type { AnyModule, Device } from '@darkroom/core';
import { registerComponent } from '../components/registry.ts';
import { AutoencoderKL } from '../models/autoencoder-kl.ts';
import { emoji, emojiConfig, randomWeights, temporaryFolder } from '../node/testing.ts';
import {
  AutoPipelineForImage2Image,
  AutoPipelineForText2Image,
  DiffusionPipeline,
  registerPipeline,
} from '../pipelines/auto.ts';
import type { CallOptions } from '../pipelines/options.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import { ByteEncoder, ByteTokenizer } from './byte-encoder.ts';
import { ToyPipeline, toyComponents } from './pipeline.ts';
import { ToyTransformer } from './transformer.ts';

const config = {
  in_channels: 16,
  width: 32,
  num_attention_heads: 2,
  num_layers: 2,
  joint_attention_dim: 128,
  pooled_projection_dim: 24,
};
const quick = { numInferenceSteps: 6, seed: 3 } as const;
const folder = temporaryFolder();
let device: Device;
let pipe: ToyPipeline;

beforeAll(async () => {
  for (const component of toyComponents) registerComponent(component);
  registerPipeline(ToyPipeline, 'toy', 'text-to-image');
  device = await cpu({ threads: 2 });
  const { unet, vae, ...sd } = (await StableDiffusionPipeline.fromPretrained(emoji, { device })).components;
  unet.dispose();
  vae.dispose();
  const shifted = AutoencoderKL.fromConfig(emojiConfig('vae', { shift_factor: 0.25 }));
  pipe = new ToyPipeline({
    ...sd,
    vae: randomWeights(shifted, device, 1),
    tokenizer2: new ByteTokenizer(16),
    textEncoder2: randomWeights(ByteEncoder.fromConfig({ hidden_size: 24 }), device, 2),
    transformer: randomWeights(ToyTransformer.fromConfig(config), device, 3),
  });
  pipe.setProgressBarConfig({ disable: true });
});
afterAll(() => {
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
  folder.remove();
});

/** The final latents and the picture's values. */
async function draw(options: CallOptions = {}, by = pipe): Promise<number[][]> {
  const latents: number[][] = [];
  const { tensor } = await by('a fox', {
    ...quick,
    ...options,
    outputType: 'tensor',
    callbackOnStepEnd: async (_, __, ___, tensors) => void latents.push([...(await tensors.latents.data())]),
  });
  const pixels = [...(await tensor!.data())];
  tensor!.dispose();
  return [latents.at(-1)!, pixels];
}

test('draws packed latents of any size that the patch divides, the same for the same seed', async () => {
  const [latents, pixels] = await draw();
  expect([latents!.length, pixels!.length]).toEqual([4 * 16 * 16, 3 * 64 * 64]);
  expect(latents!.every(Number.isFinite)).toBe(true);
  expect(await draw()).toEqual([latents, pixels]);
  expect(await draw({ seed: 4 })).not.toEqual([latents, pixels]);
  const wide = await pipe('a fox', { ...quick, width: 96, height: 32, numImagesPerPrompt: 2 });
  expect(wide.images.map(({ width, height }) => [width, height])).toEqual([[96, 32], [96, 32]]); // prettier-ignore
  await expect(pipe('a fox', { width: 60 })).rejects.toThrow('width: must be divisible by 8');
  await expect(pipe('a fox', { image: 1 } as never)).rejects.toThrow(
    "ToyPipeline: there is no option 'image'",
  );
});

test.each(['DDIMScheduler', 'EulerAncestralDiscreteScheduler', 'PNDMScheduler'])(
  '%s: traced steps give the bits of eager ones',
  async (scheduler) => {
    pipe.useScheduler(scheduler);
    const eager = await draw();
    pipe.enableTracing({ passes: [] });
    expect(await draw()).toEqual(eager);
    expect(pipe.tracedSteps.length).toBeGreaterThan(0);
    pipe.disableTracing();
  },
);

test('under both kinds of offload, and traced under model offload, the picture is the same', async () => {
  const eager = await draw();
  await pipe.toHost();
  pipe.enableModelCpuOffload();
  const modelBytes = (pipe.transformer as AnyModule).bytes;
  expect(await draw()).toEqual(eager);
  expect(device.memory().live).toBe(0);
  pipe.enableTracing({ passes: [] });
  expect(await draw()).toEqual(eager);
  pipe.disableTracing();
  pipe.disableModelCpuOffload();
  pipe.enableSequentialCpuOffload();
  device.resetPeakMemory();
  expect(await draw()).toEqual(eager);
  expect(device.memory().live).toBe(0);
  pipe.disableSequentialCpuOffload();
  expect(modelBytes).toBeGreaterThan(0);
  await pipe.to({ device });
});

test('two transformers in one denoiser, one of them in some steps: traced, and together on the device', async () => {
  const second = randomWeights(ToyTransformer.fromConfig(config), device, 5);
  const both = new ToyPipeline({ ...pipe.components, secondTransformer: second });
  both.setProgressBarConfig({ disable: true });
  both.useScheduler('DDIMScheduler');
  const options = { numInferenceSteps: 8 };
  const eager = await draw(options, both);
  expect(eager).not.toEqual(await draw(options));
  both.enableTracing({ passes: [] });
  expect(await draw(options, both)).toEqual(eager);
  expect(both.tracedSteps).toHaveLength(2);
  await both.toHost();
  both.enableModelCpuOffload();
  expect(await draw(options, both)).toEqual(eager);
  both.disableTracing();
  let departures = 0;
  second.addHook({ name: 'departures', weightsLeft: () => void departures++ });
  expect(await draw(options, both)).toEqual(eager);
  expect(departures).toBe(1); // not after each step, to make room for the other one
  second.removeHook('departures');
  both.disableModelCpuOffload();
  await pipe.to({ device });
  second.dispose();
});

test('saves and loads by the registry, also where an optional component is missing', async () => {
  const eager = await draw();
  await pipe.savePretrained(folder.path);
  const loaded = await DiffusionPipeline.fromPretrained(folder.path, { device });
  expect(loaded).toBeInstanceOf(ToyPipeline);
  (loaded as ToyPipeline).setProgressBarConfig({ disable: true });
  expect(await draw({}, loaded as ToyPipeline)).toEqual(eager);
  expect(AutoPipelineForText2Image.fromPipe(loaded)).toBe(loaded);
  expect(() => AutoPipelineForImage2Image.fromPipe(loaded)).toThrow(
    'AutoPipelineForImage2Image: there is no image-to-image pipeline in the family of ToyPipeline',
  );
  expect(() => StableDiffusionPipeline.fromPipe(loaded)).toThrow("needs 'unet'");
  loaded.dispose();
});

test('a switch that the denoiser does not have says so', () => {
  expect(() => pipe.enableAttentionSlicing()).toThrow(
    'ToyPipeline: this transformer has no setAttentionSlice()',
  );
});
