// Pictures become the tensors that diffusers' VaeImageProcessor makes: Pillow's resizing, range, masks, transparency.

import { expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { tensor } from '@darkroom/core';
import { Image } from './image.ts';
import { preprocessImage, preprocessMask, sizeOfInput } from './preprocess.ts';
import { resizeImage } from './resample.ts';

/** A picture whose bytes follow a rule, to be made in Python too. */
function ruled(width: number, height: number): Image {
  const at = (i: number): number => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3];
    return (x * 37 + y * 91 + c * 53 + ((x * y) % 29) * 7) % 256;
  };
  return new Image(
    width,
    height,
    Uint8ClampedArray.from({ length: width * height * 3 }, (_, i) => at(i)),
  );
}

const digest = (bytes: Iterable<number>): number =>
  [...bytes].reduce((sum, byte) => (sum * 31 + byte) % 4294967291, 0);

test('resizing gives the bytes of Pillow 12.3 with LANCZOS: smaller, larger, one way, not at all', () => {
  const cases = [
    [7, 5, 3, 4, 3935861399],
    [7, 5, 16, 8, 3028705992],
    [13, 9, 8, 9, 556269014],
    [4, 4, 4, 10, 1011381353],
    [64, 50, 24, 32, 160234625],
  ] as const;
  for (const [w, h, toW, toH, want] of cases)
    expect(digest(resizeImage(ruled(w, h), toW, toH).data), `${w}x${h} to ${toW}x${toH}`).toBe(want);
  const same = ruled(4, 4);
  expect(resizeImage(same, 4, 4)).toBe(same);
});

test('colours become planes in [-1, 1]; several pictures take one size', async () => {
  const image = new Image(2, 1, Uint8ClampedArray.of(0, 255, 51, 255, 0, 102));
  const { values, shape } = await preprocessImage('image', image, { width: 2, height: 1 });
  expect(shape).toEqual([1, 3, 1, 2]);
  expect([...values].map((v) => Math.round(v * 1000) / 1000)).toEqual([-1, 1, 1, -1, -0.6, -0.2]);
  const two = await preprocessImage('image', [image, ruled(7, 5)], { width: 4, height: 2 });
  expect(two.shape).toEqual([2, 3, 2, 4]);
});

test('transparent pixels of a picture show white; a mask ignores alpha', async () => {
  const clear = new Image(2, 1, Uint8ClampedArray.of(0, 0, 0, 0, 255, 255, 255, 128));
  const size = { width: 2, height: 1 };
  expect([...(await preprocessImage('image', clear, size)).values]).toEqual([1, 1, 1, 1, 1, 1]);
  expect([...(await preprocessMask('maskImage', clear, size)).values]).toEqual([0, 1]);
});

test('a mask is luma cut at a half', async () => {
  // Pillow's luma of pure red, green and blue is 76, 150, 29; of grey 127 and 128 those themselves.
  const colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 127, 127, 127, 128, 128, 128];
  const mask = new Image(5, 1, Uint8ClampedArray.from(colours));
  const { values, shape } = await preprocessMask('maskImage', mask, { width: 5, height: 1 });
  expect(shape).toEqual([1, 1, 1, 5]);
  expect([...values]).toEqual([0, 1, 0, 0, 1]);
});

test('tensors are taken from 0 to 1 and resized to the nearest; anything else is refused', async () => {
  const device = await cpu({ threads: 1 });
  const make = (values: readonly number[], shape: readonly number[]): ReturnType<typeof tensor> =>
    tensor(Float32Array.from(values), { shape, device });
  const grey = make([0.1, 0.4, 0.5, 0.9], [1, 1, 2, 2]);
  const mask = await preprocessMask('maskImage', grey, { width: 4, height: 2 });
  expect([...mask.values]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  await expect(
    preprocessImage('image', make([0, 1.5], [1, 1, 1, 2]), { width: 2, height: 1 }),
  ).rejects.toThrow('image: values of a tensor must be from 0 to 1, value 1 is 1.5');
  await expect(preprocessImage('image', make([NaN], [1, 1, 1, 1]), { width: 1, height: 1 })).rejects.toThrow(
    'value 0 is NaN',
  );
  await expect(
    preprocessMask('maskImage', make([0, 0, 0], [1, 3, 1, 1]), { width: 1, height: 1 }),
  ).rejects.toThrow('maskImage: a tensor must have 1 channel, got 3 in [1,3,1,1]');
  expect(() => sizeOfInput('image', make([0], [1]))).toThrow(
    'image: a tensor must be [n, channels, h, w], got [1]',
  );
  expect(() => sizeOfInput('image', undefined)).toThrow('image: is missing');
  expect(() => sizeOfInput('image', [])).toThrow('a list of at least one Image');
  expect(() => sizeOfInput('image', 'fox.png' as unknown as Image)).toThrow('image: must be an Image');
  device[Symbol.dispose]();
});
