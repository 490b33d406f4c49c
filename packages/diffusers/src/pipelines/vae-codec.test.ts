// The codec of a VAE: packing against its definition in loops, scale and shift there and back.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { scope, tensor } from '@darkroom/core';
import type { Device, Tensor } from '@darkroom/core';
import type { VaeLike } from '../models/types.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';
import { packLatents, unpackLatents, VaeCodec } from './vae-codec.ts';

let device: Device;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
afterAll(() => {
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});

const counted = (shape: readonly number[]): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
    { shape, device },
  );

test('packed tokens hold what the reference’s loops put there, and unpacking brings it back', () => {
  const sizes = fc.record({
    n: fc.integer({ min: 1, max: 3 }),
    c: fc.integer({ min: 1, max: 5 }),
    rows: fc.integer({ min: 1, max: 4 }),
    columns: fc.integer({ min: 1, max: 4 }),
    patch: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(sizes, ({ n, c, rows, columns, patch }) => {
      const [h, w] = [rows * patch, columns * patch];
      scope(() => {
        const latents = counted([n, c, h, w]);
        const tokens = packLatents(latents, patch);
        expect(tokens.shape).toEqual([n, rows * columns, c * patch * patch]);
        const got = tokens.dataSync();
        for (let i = 0; i < n * c * h * w; i++) {
          const [x, y] = [i % w, Math.floor(i / w) % h];
          const [channel, image] = [Math.floor(i / (w * h)) % c, Math.floor(i / (w * h * c))];
          const token = image * rows * columns + Math.floor(y / patch) * columns + Math.floor(x / patch);
          const feature = (channel * patch + (y % patch)) * patch + (x % patch);
          expect(got[token * c * patch * patch + feature]).toBe(i);
        }
        const back = unpackLatents(tokens, patch, [h, w]);
        expect(back.shape).toEqual([n, c, h, w]);
        expect([...back.dataSync()]).toEqual([...latents.dataSync()]);
      });
    }),
  );
});

/** A VAE that leaves values as they are: one level, three channels on both sides. */
function transparentVae(config: object): VaeLike {
  return {
    config: { latent_channels: 3, ...config },
    device,
    dtype: 'float32',
    blockOutChannels: [8],
    scalingFactor: 0.5,
    encode: (image) => ({ mean: image, sample: () => image }) as unknown as ReturnType<VaeLike['encode']>,
    decode: (z) => z,
    to: async () => {},
    dispose: () => {},
  };
}

test.each([
  ['scale alone', {}, { dtype: 'float32' }, (v: number) => v * 0.5],
  ['a shift, where the family has one', { shift_factor: 0.25 }, { dtype: 'float32', shift: true }, (v: number) => (v - 0.25) * 0.5], // prettier-ignore
  ['a shift that the family does not read', { shift_factor: 0.25 }, { dtype: 'float32' }, (v: number) => v * 0.5], // prettier-ignore
] as const)('%s: encoded values, and decoding undoes it', (_, config, options, wanted) => {
  scope(() => {
    const codec = new VaeCodec(transparentVae(config), options);
    const image = tensor([-1, -0.5, 0, 0.25, 0.5, 1], { shape: [1, 3, 1, 2], device });
    const latents = codec.encode(image, [new TorchCpuGenerator(1)]);
    expect([...latents.dataSync()]).toEqual([...image.dataSync()].map(wanted));
    const pixels = codec.decode(codec.pack(latents), { height: 1, width: 2 });
    expect([...pixels.dataSync()]).toEqual([...image.dataSync()].map((v) => v / 2 + 0.5));
  });
});

test('sizes: latents by the VAE’s levels, pictures by patches as well', () => {
  const vae = { ...transparentVae({ latent_channels: 16 }), blockOutChannels: [8, 8, 8, 8] };
  const codec = new VaeCodec(vae, { dtype: 'float32', patch: 2 });
  expect(codec.scale).toBe(16);
  expect(codec.latentShape(2, { height: 64, width: 32 })).toEqual([2, 16, 8, 4]);
});
