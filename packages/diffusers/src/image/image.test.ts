import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bytesFromFloats } from './convert.ts';
import { Image } from './image.ts';

test('PNG round trip keeps every byte, with and without alpha', () => {
  const size = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(size, size, fc.constantFrom(3, 4), fc.infiniteStream(fc.nat(255)), (w, h, c, bytes) => {
      const image = new Image(w, h, Uint8ClampedArray.from(bytes.take(w * h * c)));
      const back = Image.fromPng(image.toPng());
      expect([back.width, back.height, back.channels]).toEqual([w, h, c]);
      expect([...back.data]).toEqual([...image.data]);
    }),
  );
});

test('floats are rounded, clamped, and taken in channel order', () => {
  const image = Image.fromPlanes([0, 0.5, 1, 2, -1, 127.4 / 255, 127.6 / 255, 1 / 255, 0, 0, 0, 0], 3, 2, 2);
  expect([...image.data]).toEqual([0, 0, 0, 128, 127, 0, 255, 128, 0, 255, 1, 0]);
  expect([...Image.fromPixels([0, 0.5, 1], 1, 1, 3).data]).toEqual([0, 128, 255]);
  const grey = bytesFromFloats([-1, 0, 1], {
    channels: 1,
    height: 1,
    width: 3,
    layout: 'planes',
    range: [-1, 1],
  });
  expect([...grey]).toEqual([0, 0, 0, 128, 128, 128, 255, 255, 255]);
});

test('NaN is reported, not painted', () => {
  expect(() => Image.fromPlanes([NaN, 0, NaN], 3, 1, 1)).toThrow('image: 2 of 3 values are NaN');
  expect(() => Image.fromPlanes([NaN, 0], 1, 1, 2)).toThrow('image: 1 of 2 values are NaN');
});

test('bytes survive the way to floats and back', () => {
  const data = Uint8ClampedArray.from({ length: 256 * 3 }, (_, i) => Math.floor(i / 3));
  const image = new Image(16, 16, data);
  expect([...Image.fromPlanes(image.toPlanes(), 3, 16, 16).data]).toEqual([...data]);
});

test('grey, 16-bit and palette PNGs become RGB', () => {
  const grey = encode({ width: 2, height: 1, data: Uint8Array.of(7, 200), channels: 1, depth: 8 });
  expect([...Image.fromPng(grey).data]).toEqual([7, 7, 7, 200, 200, 200]);
  const wide = encode({
    width: 1,
    height: 1,
    data: Uint16Array.of(65535, 257 * 3, 0, 32768),
    channels: 4,
    depth: 16,
  });
  expect([...Image.fromPng(wide).data]).toEqual([255, 3, 0, 128]);
});

test('bad sizes and files are refused', () => {
  expect(() => new Image(2, 2, new Uint8ClampedArray(5))).toThrow(
    'image: 2x2 takes 12 (RGB) or 16 (RGBA) bytes, got 5',
  );
  expect(() => new Image(0, 2, new Uint8ClampedArray(5))).toThrow(
    'image: width must be an integer >= 1, got 0',
  );
  expect(() => Image.fromPlanes([1, 2], 2, 1, 1)).toThrow('image: channels must be 1, 3 or 4, got 2');
  expect(() => Image.fromPng(new Uint8Array(20), 'a.png')).toThrow(/a\.png: not a readable PNG/);
});

test('saving is atomic: the file, or what was there before', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'darkroom-'));
  try {
    const image = new Image(1, 1, Uint8ClampedArray.of(1, 2, 3));
    const path = join(folder, 'made', 'a.png');
    await image.save(path);
    expect([...(await Image.load(path)).data]).toEqual([1, 2, 3]);
    // A folder stands where the file should go: the write fails and leaves nothing of itself.
    await writeFile(join(folder, 'plain'), '');
    await expect(image.save(join(folder, 'made'))).rejects.toThrow();
    expect((await readdir(folder)).sort()).toEqual(['made', 'plain']);
  } finally {
    await rm(folder, { recursive: true });
  }
});
