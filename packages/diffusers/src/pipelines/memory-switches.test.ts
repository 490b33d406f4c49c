// The memory switches of a pipeline: the same picture with each, memory that falls as said, errors that name the layer.

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { keep, log, randomNormal } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { pictureTolerance } from '@darkroom/core/testing';
import type { Image } from '../image/image.ts';
import { fusedAttention, plainAttention, slicedAttention } from '../models/attention-strategies.ts';
import type { AttentionStrategy } from '../models/attention-strategies.ts';
import type { AutoencoderKL } from '../models/autoencoder-kl.ts';
import type { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { emoji } from '../node/testing.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
let unet: UNet2DConditionModel;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  unet = pipe.unet as UNet2DConditionModel;
  pipe.setProgressBarConfig({ disable: true });
  vi.spyOn(log, 'warn').mockImplementation(() => {});
});
afterEach(() => {
  pipe.disableAttentionSlicing();
  pipe.enableMemoryEfficientAttention();
  pipe.disableVaeSlicing();
  pipe.disableVaeTiling();
});
afterAll(() => {
  vi.restoreAllMocks();
  pipe.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const draw = async (options: object = {}): Promise<readonly Image[]> =>
  (await pipe(['a fox', 'a pizza'], { numInferenceSteps: 3, guidanceScale: 4, seed: 3, ...options })).images;

/** True if pictures agree within the tolerance of two backends. */
function expectSamePicture(got: Image, want: Image): void {
  let largest = 0;
  let sum = 0;
  for (let i = 0; i < want.data.length; i++) {
    const d = Math.abs(got.data[i]! - want.data[i]!);
    largest = Math.max(largest, d);
    sum += d;
  }
  expect(largest).toBeLessThanOrEqual(pictureTolerance.largest);
  expect(sum / want.data.length).toBeLessThanOrEqual(pictureTolerance.mean);
}

describe('attention', () => {
  test('slices of any size give the bits of the whole, plain and fused; both formulations give the same picture', async () => {
    const [fused] = await draw();
    for (const slice of ['auto', 'max', 1, 3] as const) {
      pipe.enableAttentionSlicing(slice);
      expect((await draw())[0]!.data, `fused, ${slice}`).toEqual(fused!.data);
    }
    pipe.disableAttentionSlicing();
    pipe.disableXformersMemoryEfficientAttention();
    const [plain] = await draw();
    expectSamePicture(plain!, fused!);
    for (const slice of ['auto', 'max', 3] as const) {
      pipe.enableAttentionSlicing(slice);
      expect((await draw())[0]!.data, `plain, ${slice}`).toEqual(plain!.data);
    }
  });

  test('slices bound the score matrix of the plain formulation; the fused one holds none', () => {
    const sample = keep(randomNormal([2, 4, 32, 32], { device, seed: 1 }));
    const text = keep(randomNormal([2, 77, 128], { device, seed: 2 }));
    const peak = (): number => {
      const before = device.memory().live;
      device.resetPeakMemory();
      unet.call(sample, 10, { encoderHiddenStates: text }).sample.dispose();
      return device.memory().peak - before;
    };
    const fused = peak();
    pipe.disableMemoryEfficientAttention();
    const plain = peak();
    pipe.enableAttentionSlicing('auto');
    const half = peak();
    pipe.enableAttentionSlicing('max');
    const one = peak();
    // Two matrices (scores and their softmax) of 4 heads, 2 items, 1024 x 1024 floats; then of 2 heads, then of 1.
    const matrix = 1024 * 1024 * 4;
    expect(plain).toBeGreaterThan(2 * 8 * matrix);
    expect(half).toBeLessThan(plain - 2 * 5 * matrix);
    expect(one).toBeLessThan(half - matrix);
    expect(fused).toBeLessThan(one);
    sample.dispose();
    text.dispose();
  });

  test('each switch leaves the other as it is; disabling restores', () => {
    const names = (): Set<string> => new Set(Object.values(unet.attnStrategies).map((s) => s.name));
    expect(names()).toEqual(new Set(['fused']));
    pipe.enableAttentionSlicing(2);
    pipe.disableMemoryEfficientAttention();
    expect(names()).toEqual(new Set(['sliced(2, plain)']));
    pipe.enableAttentionSlicing('max');
    expect(names()).toEqual(new Set(['sliced(1, plain)']));
    pipe.enableXformersMemoryEfficientAttention();
    pipe.disableAttentionSlicing();
    expect(names()).toEqual(new Set(['fused']));
  });

  test('a strategy is set for all layers or for single ones; it is what computes', async () => {
    const paths = Object.keys(unet.attnProcessors);
    expect(paths).toContain('down_blocks.0.attentions.0.transformer_blocks.0.attn1');
    const [first] = paths as [string];
    let calls = 0;
    const counting = {
      name: 'counting',
      run: (...args: Parameters<typeof fusedAttention.run>) => {
        calls++;
        return fusedAttention.run(...args);
      },
    };
    unet.setAttnProcessor({ [first]: counting });
    await draw();
    expect(calls).toBe(4); // PNDM takes one of 3 steps twice
    unet.setAttnProcessor(counting);
    await draw();
    expect(calls).toBe(4 + 4 * paths.length);
    unet.setAttnProcessor(fusedAttention);
    expect(() => unet.setAttnProcessor({ nowhere: plainAttention })).toThrow(
      `setAttnProcessor: 'nowhere' is no attention layer; there are ${paths.length}, as ${first}`,
    );
  });

  test('bad slices name the rule and the layer, and change nothing', () => {
    const before = unet.attnProcessors;
    expect(() => pipe.enableAttentionSlicing(5)).toThrow(
      'attention slice: 5 is more than the 4 heads of down_blocks.0.attentions.0.transformer_blocks.0.attn1',
    );
    for (const bad of [0, 1.5, NaN, 'most' as 'max'])
      expect(() => pipe.enableAttentionSlicing(bad)).toThrow(
        `attention slice: must be 'auto', 'max' or an integer >= 1, got ${bad}`,
      );
    expect(() => slicedAttention(0)).toThrow('needs a whole number of heads >= 1, got 0');
    expect(unet.attnProcessors).toEqual(before);
    const { config, call } = unet;
    const traced = new StableDiffusionPipeline({
      ...pipe.components,
      unet: { config, call, device, dtype: 'float32', to: async () => {}, dispose: () => {} },
    });
    expect(() => traced.enableAttentionSlicing()).toThrow('this unet has no setAttentionSlice()');
  });

  test('that slicing the fused kernel saves nothing is said once', async () => {
    vi.resetModules(); // a fresh memory of what was said
    const fresh = await import('./memory-switches.ts');
    const { fusedAttention: fused, slicedAttention: slice } =
      await import('../models/attention-strategies.ts');
    const models = (strategy: AttentionStrategy): [{ attnStrategies: Record<string, AttentionStrategy> }] => [
      { attnStrategies: { a: strategy } },
    ];
    const warn = vi.mocked(log.warn);
    warn.mockClear();
    fresh.warnIfSlicingIsUseless(models(slice(1, { name: 'own', run: fused.run })));
    expect(warn).not.toHaveBeenCalled();
    const { log: freshLog } = await import('@darkroom/core');
    const said: string[] = [];
    freshLog.warn = (message) => void said.push(message);
    fresh.warnIfSlicingIsUseless(models(slice(1, fused)));
    fresh.warnIfSlicingIsUseless(models(slice(1, fused)));
    expect(said).toEqual([expect.stringContaining('slicing saves nothing')]);
  });
});

describe('VAE', () => {
  test('sliced pictures are the same bytes; the peak does not grow with the batch', async () => {
    const whole = await draw({ numImagesPerPrompt: 2 });
    pipe.enableVaeSlicing();
    const slices = await draw({ numImagesPerPrompt: 2 });
    expect(slices.map((i) => i.data)).toEqual(whole.map((i) => i.data));
    const decodePeak = async (images: number): Promise<number> => {
      const vae = pipe.vae as AutoencoderKL;
      let before = 0;
      vae.addHook({
        name: 'start',
        preForward: () => {
          if (before > 0) return;
          before = device.memory().live;
          device.resetPeakMemory();
        },
      });
      await pipe('a fox', { numInferenceSteps: 1, seed: 1, numImagesPerPrompt: images });
      vae.removeHook('start');
      return device.memory().peak - before;
    };
    expect(await decodePeak(6)).toBe(await decodePeak(1));
    pipe.disableVaeSlicing();
    expect(await decodePeak(6)).toBeGreaterThan(4 * (await decodePeak(1)));
  });

  test('tiling draws larger pictures another way; an own VAE without it is refused by name', async () => {
    const options = { width: 128, height: 96 };
    const [whole] = await draw(options);
    pipe.enableVaeTiling({ tileSize: 64, overlap: 0.25 });
    const [tiles] = await draw(options);
    expect([tiles!.width, tiles!.height]).toEqual([128, 96]);
    expect(tiles!.data).not.toEqual(whole!.data);
    const { vae } = pipe;
    const { config, blockOutChannels, scalingFactor } = vae;
    const own = {
      config,
      blockOutChannels,
      scalingFactor,
      device,
      dtype: 'float32' as const,
      encode: vae.encode.bind(vae),
      decode: vae.decode.bind(vae),
      to: async () => {},
      dispose: () => {},
    };
    const other = new StableDiffusionPipeline({ ...pipe.components, vae: own });
    expect(() => other.enableVaeTiling()).toThrow('StableDiffusionPipeline: this vae has no enableTiling()');
    expect(() => other.enableVaeSlicing()).toThrow('this vae has no enableSlicing()');
  });
});
