// The pipeline on WebGPU: the CPU's picture, one submit a step, and a pipeline that changes devices between calls.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import type { WebGpuBackend } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import type { Device } from '@darkroom/core';
import { pictureTolerance } from '@darkroom/core/testing';
import { Image } from '../image/image.ts';
import { emoji } from '../node/testing.ts';
import { StableDiffusionImg2ImgPipeline } from './stable-diffusion-img2img.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

const missing = await adapterIsMissing();
const call = { seed: 7, numInferenceSteps: 4, guidanceScale: 4 } as const;

describe.skipIf(missing)('webgpu pipeline', () => {
  let host: Device;
  let gpu: Device;
  beforeAll(async () => {
    host = await cpu();
    gpu = await webgpu();
  });
  afterAll(() => {
    host?.[Symbol.dispose]();
    gpu?.[Symbol.dispose]();
  });

  test('one object runs on cpu, webgpu and cpu again: the same picture, no memory left behind', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device: host });
    pipe.setProgressBarConfig({ disable: true });
    const draw = async (): Promise<Uint8ClampedArray> => (await pipe('a fox', call)).images[0]!.data;
    const first = await draw();
    const onHost = host.memory().live;
    expect(gpu.memory().live).toBe(0);

    await pipe.to(gpu);
    expect(host.memory().live).toBe(0);
    const onGpu = gpu.memory().live;
    const second = await draw();
    expect(gpu.memory().live).toBe(onGpu);

    await pipe.to(host);
    expect(gpu.memory().live).toBe(0);
    expect(host.memory().live).toBe(onHost);
    const third = await draw();

    expect([...third]).toEqual([...first]);
    let worst = 0;
    let total = 0;
    for (let i = 0; i < first.length; i++) {
      const difference = Math.abs(first[i]! - second[i]!);
      worst = Math.max(worst, difference);
      total += difference;
    }
    expect(worst).toBeLessThanOrEqual(pictureTolerance.largest);
    expect(total / first.length).toBeLessThanOrEqual(pictureTolerance.mean);
    pipe.dispose();
    expect(host.memory().live).toBe(0);
  });

  test('a picture drawn over, with every memory switch: the CPU’s picture, no memory left behind', async () => {
    const text = await StableDiffusionPipeline.fromPretrained(emoji, { device: host });
    const pipe = StableDiffusionImg2ImgPipeline.fromPipe(text);
    pipe.setProgressBarConfig({ disable: true });
    const image = new Image(
      96,
      64,
      Uint8ClampedArray.from({ length: 96 * 64 * 3 }, (_, i) => (i / 40) % 256),
    );
    pipe.enableVaeSlicing();
    pipe.enableVaeTiling({ tileSize: 48 });
    pipe.disableMemoryEfficientAttention();
    pipe.enableAttentionSlicing('max');
    const draw = async (): Promise<readonly Image[]> =>
      (await pipe(['a fox', 'a pizza'], { ...call, image, strength: 0.25 })).images;
    const wanted = await draw();
    await pipe.to(gpu);
    const before = gpu.memory().live;
    const got = await draw();
    expect(gpu.memory().live).toBe(before);
    for (const [k, { data }] of got.entries()) {
      const differences = data.map((v, i) => Math.abs(v - wanted[k]!.data[i]!));
      expect(Math.max(...differences)).toBeLessThanOrEqual(pictureTolerance.largest);
      const total = differences.reduce((a, b) => a + b, 0);
      expect(total / data.length).toBeLessThanOrEqual(pictureTolerance.mean);
    }
    pipe.dispose();
  });

  test('a step is one submit and reads nothing back', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device: gpu });
    pipe.setProgressBarConfig({ disable: true });
    const backend = gpu.backend as WebGpuBackend;
    const seen: { submits: number; reads: number; dispatches: number }[] = [];
    await pipe('a fox', {
      ...call,
      outputType: 'latent',
      callbackOnStepEnd: () => void seen.push(backend.counters),
    });
    expect(seen.length).toBeGreaterThanOrEqual(call.numInferenceSteps);
    for (let i = 1; i < seen.length; i++) {
      expect(seen[i]!.submits - seen[i - 1]!.submits).toBe(1);
      expect(seen[i]!.reads).toBe(seen[0]!.reads);
      expect(seen[i]!.dispatches).toBeGreaterThan(seen[i - 1]!.dispatches);
    }
    pipe.dispose();
  });
});
