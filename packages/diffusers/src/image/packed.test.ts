// Words of pixels: the bytes that the host makes of floats, and NaN told apart.

import { cpu } from '@darkroom/backend-cpu';
import { tensor } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { expect, test } from 'vitest';
import { Image } from './image.ts';
import { packPixels, unpackPixels } from './packed.ts';

const [n, h, w] = [2, 3, 5];
const size = 3 * h * w;

test.each(['float32', 'float16'] as const)('packed %s: the bytes of fromPlanes', async (dtype) => {
  using device = await cpu({ threads: 1 });
  const values = Float32Array.from({ length: n * size }, (_, i) => ((i * 37) % 101) / 83.7 - 0.1);
  using pixels = tensor(values, { shape: [n, 3, h, w], dtype, device });
  const rounded = (await pixels.data()) as Float32Array;
  using words = packPixels(pixels);
  expect([words.dtype, words.shape]).toEqual(['int32', [n, h, w]]);
  const data = (await words.data()) as Int32Array;
  for (let i = 0; i < n; i++) {
    const planes = rounded.subarray(i * size, (i + 1) * size);
    const bytes = unpackPixels(data.subarray(i * h * w, (i + 1) * h * w));
    expect(bytes).toEqual(Image.fromPlanes(planes, 3, h, w).data);
  }
});

test('one channel is grey, and four are refused', async () => {
  using device = await cpu({ threads: 1 });
  using words = packPixels(tensor([0, 1], { shape: [1, 1, 1, 2], device }));
  expect([...unpackPixels((await words.data()) as Int32Array)!]).toEqual([0, 0, 0, 255, 255, 255]);
  expect(() => packPixels(tensor([1, 1, 1, 1], { shape: [1, 4, 1, 1], device }))).toThrow(
    'image: decoded pictures have 1 or 3 channels, got 4',
  );
});

test.each([0, 1, 2])('NaN in channel %d is seen, black and white are none', async (channel) => {
  using device = await cpu({ threads: 1 });
  const planes = new Float32Array(12).fill(1).fill(0, 0, 1).fill(0, 4, 5).fill(0, 8, 9);
  const bytesOf = async (): Promise<Uint8ClampedArray | undefined> => {
    using words = packPixels(tensor(planes, { shape: [1, 3, 2, 2], device }));
    return unpackPixels((await words.data()) as Int32Array);
  };
  expect([...(await bytesOf())!]).toEqual([0, 0, 0, ...new Array<number>(9).fill(255)]);
  planes[channel * 4 + 2] = NaN;
  expect(await bytesOf()).toBeUndefined();
});

const places: readonly [string, boolean, () => Promise<Device>][] = [
  ['webgpu', await adapterIsMissing(), webgpu],
  ['cuda emulator', emulatorIsMissing(), () => cuda({ emulator: true, cache: false })],
];
test.each(places)('%s: the same words, and -1 for NaN', async (_, missing, open) => {
  if (missing) return;
  using device = await open();
  const values = Float32Array.from({ length: size }, (_, i) => ((i * 37) % 101) / 83.7 - 0.1);
  values[4] = NaN;
  const wordsOn = async (on: Device): Promise<number[]> => {
    using pixels = tensor(values, { shape: [1, 3, h, w], device: on });
    using words = packPixels(pixels);
    return [...(await words.data())];
  };
  using host = await cpu({ threads: 1 });
  const words = await wordsOn(device);
  expect(words).toEqual(await wordsOn(host));
  expect(words[4]).toBe(-1);
});
