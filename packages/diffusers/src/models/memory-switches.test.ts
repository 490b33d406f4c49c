// Slicing and tiling on every backend: the same numbers, and no more on the device than was promised. What they do is
// tested closely on the CPU (vae-tiling.test.ts); offload has a file of its own.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorCache, emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { randomNormal, scope } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import { localFiles } from '../loading/node/local-files.ts';
import { emoji } from '../node/testing.ts';
import { loadModel } from '../components/load.ts';
import { plainAttention } from './attention-strategies.ts';
import type { AutoencoderKL } from './autoencoder-kl.ts';
import type { UNet2DConditionModel } from './unet2d-condition.ts';

const devices: readonly { name: string; missing: boolean; open: () => Promise<Device> }[] = [
  { name: 'cpu', missing: false, open: () => cpu({ threads: 1 }) },
  { name: 'webgpu', missing: await adapterIsMissing(), open: () => webgpu() },
  {
    name: 'cuda',
    missing: emulatorIsMissing(),
    open: () => cuda({ emulator: true, cache: emulatorCache() }),
  },
];

describe.each(devices)('memory switches on $name', ({ missing, open }) => {
  describe.skipIf(missing)('', () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => {
      expect(device.memory().live).toBe(0);
      device[Symbol.dispose]();
    });

    /** Values of what `body` gives, and what lived at most beside what was there before. */
    async function run(body: () => Tensor): Promise<{ values: Float32Array; peak: number }> {
      const before = device.memory().live;
      device.resetPeakMemory();
      using out = scope(body);
      const { peak } = device.memory();
      return { values: Float32Array.from(await out.data()), peak: peak - before };
    }

    test('VAE slicing: the same bits, the memory of one picture', async () => {
      using vae = (await loadModel(localFiles(emoji), 'vae', 'AutoencoderKL', { device })) as AutoencoderKL;
      using latents = randomNormal([3, 4, 4, 4], { seed: 1, device });
      using one = scope(() => latents.slice(0, 0, 1));
      const [whole, single] = [await run(() => vae.decode(latents)), await run(() => vae.decode(one))];
      vae.enableSlicing();
      const sliced = await run(() => vae.decode(latents));
      expect(sliced.values).toEqual(whole.values);
      // Beside one picture's activations: the result of all.
      expect(sliced.peak).toBeLessThanOrEqual(single.peak + 4 * whole.values.length + 1024);
      expect(sliced.peak).toBeLessThan(0.6 * whole.peak);
    });

    test('VAE tiling: a larger picture in the memory of a tile', async () => {
      using vae = (await loadModel(localFiles(emoji), 'vae', 'AutoencoderKL', { device })) as AutoencoderKL;
      using small = randomNormal([1, 4, 4, 4], { seed: 1, device });
      using large = randomNormal([1, 4, 12, 12], { seed: 1, device });
      const [tile, whole] = [await run(() => vae.decode(small)), await run(() => vae.decode(large))];
      vae.enableTiling({ tileSize: 16 });
      const tiled = await run(() => vae.decode(large));
      expect(tiled.values.length).toBe(whole.values.length);
      expect(tiled.values.every(Number.isFinite)).toBe(true);
      // Beside a tile's activations: the result, and the tiles not yet blended into it.
      expect(tiled.peak).toBeLessThan(tile.peak + 4 * 4 * whole.values.length);
      expect(tiled.peak).toBeLessThan(0.6 * whole.peak);
    });

    test('attention slicing: the same bits, a part of the score matrix', async () => {
      using unet = (await loadModel(localFiles(emoji), 'unet', 'UNet2DConditionModel', { device })) as UNet2DConditionModel; // prettier-ignore
      using sample = randomNormal([1, 4, 16, 16], { seed: 1, device });
      using text = randomNormal([1, 77, unet.config['cross_attention_dim'] as number], { seed: 2, device });
      const step = (): Tensor => unet.call(sample, 500, { encoderHiddenStates: text }).sample;
      unet.setAttnProcessor(plainAttention);
      const scores = await run(step);
      unet.setAttentionSlice('max');
      const sliced = await run(step);
      expect(sliced.values).toEqual(scores.values);
      expect(sliced.peak).toBeLessThan(scores.peak);
    });
  });
});
