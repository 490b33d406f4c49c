// Traces on GPUs: what was traced on the CPU, and whole steps; on WebGPU and the CUDA emulator, where they are there.

import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorCache, emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { parseTraced, randomNormal, Scope, trace } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { pictureTolerance, relativeL2, tracedOnGpuTolerance } from '@darkroom/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Conditioning } from '../models/conditioning.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import type { UNetOutput } from '../models/unet2d-condition.ts';
import type { UNetLike } from '../models/types.ts';
import { emoji, emojiConfig, randomWeights } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

type Call = [sample: Tensor, timestep: number, conditioning: Conditioning];

/** A UNet with attention and skips whose step an emulator does in seconds. */
const tiny = (device: Device): UNet2DConditionModel =>
  randomWeights(
    UNet2DConditionModel.fromConfig(
      emojiConfig('unet', { block_out_channels: [16, 16, 32], cross_attention_dim: 24, layers_per_block: 1 }),
    ),
    device,
    3,
  );

const inputs = (device: Device): Call => [
  randomNormal([2, 4, 8, 8], { device, seed: 1 }),
  321,
  { encoderHiddenStates: randomNormal([2, 7, 24], { device, seed: 2 }) },
];

const places: readonly [string, boolean, () => Promise<Device>][] = [
  ['webgpu', await adapterIsMissing(), webgpu],
  ['cuda emulator', emulatorIsMissing(), () => cuda({ emulator: true, cache: emulatorCache() })],
];

describe.each(places)('%s', (_, missing, open) => {
  let host: Device;
  let gpu: Device;
  beforeAll(async () => {
    if (missing) return;
    host = await cpu({ threads: 1 });
    gpu = await open();
  });
  afterAll(() => {
    host?.[Symbol.dispose]();
    gpu?.[Symbol.dispose]();
  });

  test.skipIf(missing)(
    'the file of the CPU gives what the CPU gives; again and again, and no memory stays behind',
    async () => {
      using memory = new Scope();
      const here = tiny(host);
      const traced = await trace(
        here as { call(...args: Call): UNetOutput },
        memory.run(() => inputs(host)),
      );
      const want = memory.run(() => traced.call(...inputs(host)).sample).dataSync();
      const text = await traced.serialize();
      const before = gpu.memory().live;
      const params = tiny(gpu).stateDict();
      const loaded = await parseTraced<Call, UNetOutput>(text, 'unet.graph.json', { device: gpu, params });
      const call = memory.run(() => inputs(gpu));
      for (let i = 0; i < 3; i++) {
        const { sample } = loaded.call(...call);
        expect(relativeL2(await sample.data(), want) <= tracedOnGpuTolerance).toBe(true);
        sample.dispose();
      }
      loaded.dispose();
      memory.dispose();
      expect(gpu.memory().live).toBe(before);
      traced.dispose();
    },
  );

  test.skipIf(missing)('without passes a replay has the bits of eager', async () => {
    using memory = new Scope();
    const model = tiny(gpu);
    const call = memory.run(() => inputs(gpu));
    const traced = await trace(model as { call(...args: Call): UNetOutput }, call, { passes: [] });
    const [eager, replayed] = memory.run(() => [model.call(...call).sample, traced.call(...call).sample]);
    expect(await replayed!.data()).toEqual(await eager!.data());
    traced.dispose();
  });

  test.skipIf(missing)('whole steps draw what steps op by op draw, and give their memory back', async () => {
    const before = gpu.memory().live;
    const model = tiny(gpu);
    const { components } = await StableDiffusionPipeline.fromPretrained(emoji, { device: gpu });
    components.unet.dispose();
    const pipe = new StableDiffusionPipeline({ ...components, unet: model as UNetLike });
    pipe.setProgressBarConfig({ disable: true });
    const promptEmbeds = randomNormal([1, 7, 24], { device: gpu, seed: 2 });
    const draw = async (): Promise<ArrayLike<number>> => {
      const call = { promptEmbeds, negativePromptEmbeds: promptEmbeds, width: 32, height: 32, seed: 1 };
      const { tensor } = await pipe(undefined, { ...call, numInferenceSteps: 5, outputType: 'latent' });
      const values = await tensor!.data();
      tensor!.dispose();
      return values;
    };
    for (const scheduler of ['EulerAncestralDiscreteScheduler', 'DPMSolverMultistepScheduler']) {
      pipe.useScheduler(scheduler);
      pipe.disableTracing();
      const eager = await draw();
      pipe.enableTracing();
      for (let i = 0; i < 2; i++) expect(relativeL2(await draw(), eager) <= tracedOnGpuTolerance).toBe(true);
      expect(pipe.tracedSteps).not.toHaveLength(0);
    }

    // The same under model offload, for whole steps and for a traced UNet: the bits, and no memory afterwards.
    const steps = await draw();
    pipe.disableTracing();
    const call = inputs(gpu);
    pipe.unet = await trace(pipe.unet, call);
    for (const t of [call[0], call[2].encoderHiddenStates]) t.dispose();
    const unet = await draw();
    await pipe.toHost();
    pipe.enableModelCpuOffload();
    const { live } = gpu.memory();
    for (let i = 0; i < 2; i++) {
      expect(await draw()).toEqual(unet);
      expect(gpu.memory().live).toBe(live);
    }
    pipe.unet = model as UNetLike;
    pipe.enableTracing();
    await draw(); // with the traces of a second picture:
    expect(await draw()).toEqual(steps);
    expect(gpu.memory().live).toBe(live);
    promptEmbeds.dispose();
    pipe.dispose();
    expect(gpu.memory().live).toBe(before);
  }); // prettier-ignore

  test.skipIf(missing)('text encoder and decoder draw traced what they draw op by op', async () => {
    const before = gpu.memory().live;
    const { components } = await StableDiffusionPipeline.fromPretrained(emoji, { device: gpu });
    components.unet.dispose();
    const config = emojiConfig('unet', { block_out_channels: [16, 16, 32], layers_per_block: 1 });
    const unet = randomWeights(UNet2DConditionModel.fromConfig(config), gpu, 3);
    const pipe = new StableDiffusionPipeline({ ...components, unet });
    pipe.setProgressBarConfig({ disable: true });
    const draw = async (): Promise<readonly number[]> => {
      const call = { width: 32, height: 32, seed: 1, numInferenceSteps: 1, guidanceScale: 3 };
      return [...(await pipe('a fox', call)).images[0]!.data];
    };
    const eager = await draw();
    pipe.enableTracing();
    // Op by op, a first run, and replays; on CUDA the second of these is a graph's launch.
    for (let i = 0; i < 4; i++) {
      const drawn = await draw();
      const largest = Math.max(...drawn.map((v, at) => Math.abs(v - eager[at]!)));
      expect(largest <= pictureTolerance.largest, `picture ${i}: ${largest}`).toBe(true);
    }
    pipe.dispose();
    expect(gpu.memory().live).toBe(before);
  });
});
