// A user's own object in place of the UNet, as the guide's TracedUNet is.

import type { Tensor } from '@darkroom/core';
import { trace } from '@darkroom/core';
import { cpu } from '@darkroom/backend-cpu';
import { expect, test } from 'vitest';
import { emoji } from '../node/testing.ts';
import type { Conditioning } from '../models/conditioning.ts';
import type { OwnUNet } from './own-unet.ts';
import { StableDiffusionPipeline } from './stable-diffusion.ts';
import { unetInputs } from './unet-inputs.ts';

const quick = { numInferenceSteps: 2, guidanceScale: 4, seed: 7 };

test('config, device, dtype and forward are enough, whatever form the prediction has', async () => {
  const device = await cpu({ threads: 1 });
  const pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  const eager = (await pipe('a fox', quick)).images[0]!.data;
  const { unet } = pipe;
  const vaeDtype = pipe.vae.dtype;
  const traced = await trace(unet, unetInputs(pipe));
  type Forms = (sample: Tensor) => ReturnType<OwnUNet['forward']>;
  const forms: readonly Forms[] = [(t) => t, (t) => [t, 'more'], (t) => ({ sample: t })];
  for (const form of forms) {
    // Private fields, as a class of one's own may have them.
    class TracedUNet implements OwnUNet {
      readonly #traced = traced;
      readonly config = { in_channels: 4, sample_size: 16 };
      get device(): OwnUNet['device'] {
        return this.#traced.device!;
      }
      readonly dtype = 'float32';
      forward(sample: Tensor, t: number, conditioning: Conditioning): ReturnType<OwnUNet['forward']> {
        return form(this.#traced.call(sample, t, conditioning).sample);
      }
    }
    pipe.unet = new TracedUNet();
    expect((await pipe('a fox', quick)).images[0]!.data).toEqual(eager);
  }
  await expect(pipe.to('bfloat16')).rejects.toThrow('the UNet is an object of your own');
  expect([pipe.vae.dtype, pipe.computeDtype]).toEqual([vaeDtype, 'float32']); // nothing has moved
  pipe.dispose(); // frees the other components only
  expect(unet.stateDict!().values().next().value!.isDisposed).toBe(false);
  traced.dispose();
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

test('what cannot be a UNet is refused with what it lacks', async () => {
  const device = await cpu({ threads: 1 });
  using pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device });
  const { unet } = pipe;
  expect(() => (pipe.unet = { config: {}, device, dtype: 'float32' } as unknown as OwnUNet)).toThrow(
    "unet: an object of one's own needs config, device, dtype and forward; forward is undefined, not function",
  );
  expect(pipe.unet).toBe(unet);
  pipe.unet = { config: {}, device, dtype: 'float32', forward: () => 3 as unknown as Tensor };
  await expect(pipe('a fox', quick)).rejects.toThrow('unet: forward must give a tensor');
  pipe.unet = unet;
});
