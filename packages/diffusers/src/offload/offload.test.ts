// Offload on every backend: the same picture, and no more on the device than was promised.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorCache, emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { Linear, Module } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';
import { emoji, emojiConfig, randomWeights } from '../node/testing.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { SequentialOffload } from './sequential.ts';

const call = { seed: 7, numInferenceSteps: 2, guidanceScale: 4, width: 32, height: 32, outputType: 'tensor' } as const; // prettier-ignore
const devices: readonly { name: string; missing: boolean; open: () => Promise<Device> }[] = [
  { name: 'cpu', missing: false, open: () => cpu({ threads: 1 }) },
  { name: 'webgpu', missing: await adapterIsMissing(), open: () => webgpu() },
  {
    name: 'cuda',
    missing: emulatorIsMissing(),
    open: () => cuda({ emulator: true, cache: emulatorCache() }),
  },
];

interface Drawn {
  readonly pixels: number[];
  /** Highest live bytes during the call, and when it was over. */
  readonly peak: number;
  readonly after: number;
}
async function draw(pipe: StableDiffusionPipeline, options: object = {}): Promise<Drawn> {
  const { device } = pipe;
  device.resetPeakMemory();
  const { tensor } = await pipe('a fox', { ...call, ...options });
  const pixels = [...(await tensor!.data())];
  tensor!.dispose();
  return { pixels, peak: device.memory().peak, after: device.memory().live };
}

const weightsOf = (module: unknown): number => (module as AnyModule).bytes;

describe.each(devices)('offload on $name', ({ missing, open }) => {
  describe.skipIf(missing)('', () => {
    let device: Device;
    let plain: Drawn;
    let pipe: StableDiffusionPipeline;
    beforeAll(async () => {
      device = await open();
      const onDevice = await StableDiffusionPipeline.fromPretrained(emoji, { device });
      onDevice.setProgressBarConfig({ disable: true });
      plain = await draw(onDevice);
      onDevice.dispose();
      expect(device.memory().live).toBe(0);
      pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device, weights: 'host' });
      pipe.setProgressBarConfig({ disable: true });
    });
    afterAll(() => {
      pipe?.dispose();
      expect(device.memory().live).toBe(0);
      device[Symbol.dispose]();
    });

    test('weights loaded to host memory take nothing on the device', () => {
      expect(device.memory().live).toBe(0);
      const { components } = pipe.memoryReport();
      expect(components['unet']).toMatchObject({ device: 0, host: weightsOf(pipe.unet) });
    });

    test('model offload: bit-equal, one component at a time, nothing afterwards', async () => {
      pipe.enableModelCpuOffload();
      const drawn = await draw(pipe);
      expect(drawn.pixels).toEqual(plain.pixels);
      expect(drawn.after).toBe(0);
      const all = weightsOf(pipe.unet) + weightsOf(pipe.vae) + weightsOf(pipe.textEncoder);
      const largest = Math.max(weightsOf(pipe.unet), weightsOf(pipe.vae), weightsOf(pipe.textEncoder));
      // The plain call's memory beside the weights is activations; allocations are rounded up.
      expect(drawn.peak).toBeLessThanOrEqual(plain.peak - all + largest + 200_000);
      pipe.disableModelCpuOffload();
      expect(device.memory().live).toBe(0);
    });

    test.each([{}, { groupSize: 5 }, { maxMemory: 100_000 }, { prefetch: false }])(
      'sequential offload %o: bit-equal, twice, within its bound',
      async (options) => {
        pipe.enableSequentialCpuOffload(options);
        const [first, second] = [await draw(pipe), await draw(pipe)];
        pipe.disableSequentialCpuOffload();
        for (const drawn of [first, second]) {
          expect(drawn.pixels).toEqual(plain.pixels);
          expect(drawn.after).toBe(0);
          const all = weightsOf(pipe.unet) + weightsOf(pipe.vae) + weightsOf(pipe.textEncoder);
          // Leaves of the embedded model have up to 0.6 MB; groups of five of its largest a little over two.
          const group = Math.max(...leafBytes(pipe)) * ('groupSize' in options ? 5 : 1);
          expect(drawn.peak).toBeLessThan(plain.peak - all + 3 * group + 200_000);
        }
      },
    );

    test('a call that throws leaves nothing on the device, and the next one works', async () => {
      pipe.enableModelCpuOffload();
      const stop = (): never => {
        throw new Error('stop');
      };
      await expect(pipe('a fox', { ...call, callbackOnStepEnd: stop })).rejects.toThrow('stop');
      expect(device.memory().live).toBe(0);
      expect((await draw(pipe)).pixels).toEqual(plain.pixels);
      pipe.disableModelCpuOffload();
    });

    test('a component that was exchanged is offloaded too, and the old one is let go', async () => {
      const before = pipe.unet as UNet2DConditionModel;
      pipe.enableSequentialCpuOffload();
      await draw(pipe);
      const other = randomWeights(UNet2DConditionModel.fromConfig(emojiConfig('unet')), device);
      await other.to({ dtype: before.dtype }); // no new kernels
      pipe.unet = other;
      const drawn = await draw(pipe);
      expect(drawn.pixels).not.toEqual(plain.pixels);
      expect(drawn.after).toBe(0);
      pipe.unet = before;
      expect((await draw(pipe)).pixels).toEqual(plain.pixels);
      pipe.disableSequentialCpuOffload();
      other.dispose();
    });

    test('channels last and offload go together', async () => {
      const unet = pipe.unet as UNet2DConditionModel;
      await unet.to({ memoryFormat: 'channelsLast' });
      expect(unet.stateDict().get('conv_out.weight')!.memoryFormat).toBe('channelsLast');
      expect(device.memory().live).toBe(0);
      pipe.enableSequentialCpuOffload();
      const drawn = await draw(pipe);
      pipe.disableSequentialCpuOffload();
      expect(drawn.pixels.every((v, i) => Math.abs(v - plain.pixels[i]!) < 1e-2)).toBe(true);
      await unet.to({ memoryFormat: 'contiguous' });
    });
  });
});

function leafBytes(pipe: StableDiffusionPipeline): number[] {
  return [pipe.unet, pipe.vae, pipe.textEncoder].flatMap((component) =>
    [...(component as unknown as AnyModule).namedModules()].map(([, m]) =>
      [...m.ownParameters()].reduce((sum, [, p]) => sum + p.bytes, 0),
    ),
  );
}

describe('offload', () => {
  let device: Device;
  beforeAll(async () => {
    device = await cpu({ threads: 1 });
  });
  afterAll(() => device[Symbol.dispose]());

  test('is refused for weights on the device, twice, and for bad options; to() is refused under it', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
    expect(() => pipe.enableModelCpuOffload()).toThrow(
      'enableModelCpuOffload: the weights of vae, textEncoder, unet are on cpu already',
    );
    expect(() => pipe.enableSequentialCpuOffload()).toThrow("load with { weights: 'host' }");
    await pipe.toHost();
    expect(device.memory().live).toBe(0);
    expect(() => pipe.enableSequentialCpuOffload({ groupSize: 0 })).toThrow(
      'enableSequentialCpuOffload: groupSize must be a positive integer, got 0',
    );
    expect(() => pipe.enableSequentialCpuOffload({ groupSize: 1, maxMemory: 1 })).toThrow('not both');
    pipe.enableSequentialCpuOffload();
    expect(() => pipe.enableModelCpuOffload()).toThrow('call disableSequentialCpuOffload() first');
    await expect(pipe.to(device)).rejects.toThrow('call disableSequentialCpuOffload() first');
    pipe.disableModelCpuOffload(); // not what is enabled: nothing happens
    pipe.disableSequentialCpuOffload();
    await pipe.to(device);
    expect(pipe.memoryReport().components['unet']!.host).toBe(0);
    expect(`${pipe.memoryReport()}`).toMatch(/^vae +float\d+, \d+\.\d MiB on cpu, 0\.0 MiB in host memory/);
    pipe.dispose();
    expect(device.memory().live).toBe(0);
    await expect(
      StableDiffusionPipeline.fromPretrained(emoji, { device, weights: 'disk' as 'host' }),
    ).rejects.toThrow("weights must be 'device' or 'host', got 'disk'");
  });

  test('the next group is on its way while one computes, and never more than two are there', async () => {
    class Chain extends Module<[x: Tensor], Tensor> {
      links: Linear[] = Array.from({ length: 6 }, () => new Linear(32, 32));
      override forward(x: Tensor): Tensor {
        return this.links.reduce((y, link) => link.call(y), x);
      }
    }
    const chain = randomWeights(new Chain(), device);
    const { tensor } = await import('@darkroom/core');
    await chain.toHost();
    const offload = new SequentialOffload({ chain });
    const seen: string[] = [];
    for (const link of chain.links) {
      link.addHook({
        name: 'look',
        preForward: () => void seen.push(chain.links.map((l) => (l.isOnHost ? '.' : 'x')).join('')),
      });
    }
    const x = tensor(new Float32Array(32), { shape: [1, 32], device });
    chain.call(x).dispose();
    offload.finish();
    expect(seen).toEqual(['x.....', '.x....', '..x...', '...x..', '....x.', '.....x']);
    seen.length = 0;
    chain.call(x).dispose();
    expect(seen).toEqual(['xx....', '.xx...', '..xx..', '...xx.', '....xx', '.....x']);
    offload.leave();
    expect(chain.isOnHost).toBe(true);
    x.dispose();
    chain.dispose();
  });
});
