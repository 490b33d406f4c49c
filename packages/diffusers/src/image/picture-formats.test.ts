// JPEG and WebP: what is written is what was drawn, within what the format loses; parameters come back from all formats;
// hostile files are one FormatError.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { FormatError } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PictureParameters } from '../parameters/parameters.ts';
import { exifWithComment, userCommentInExif } from './exif.ts';
import { pictureFormats } from './formats.ts';
import { Image } from './image.ts';

/** Colours that change slowly, as in a picture; alpha falls from left to right. */
function gradient(width: number, height: number, channels: 3 | 4): Image {
  const at = (i: number): number => {
    const [c, x, y] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / channels / width)];
    return c === 3
      ? 255 - Math.round((x / width) * 255)
      : Math.round(127 + 120 * Math.sin((x * (c + 1) + y) / 9));
  };
  return new Image(
    width,
    height,
    Uint8ClampedArray.from({ length: width * height * channels }, (_, i) => at(i)),
  );
}

const meanError = (a: Image, b: Image): number =>
  a.data.reduce((sum, v, i) => sum + Math.abs(v - b.data[i]!), 0) / a.data.length;

const drawn: PictureParameters = {
  prompt: 'ein Fuchs, 狐 🦊\n"quoted": yes',
  seed: 7,
  steps: 20,
  scheduler: 'euler_a',
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-formats-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(pictureFormats)('%s', (format) => {
  test.each([
    [1, 1],
    [17, 9],
    [64, 48],
  ])('a picture of %ix%i comes back, with its parameters', async (width, height) => {
    const image = gradient(width, height, 3).withParameters(drawn);
    const bytes = await image.encode(format);
    const back = await Image.decode(bytes, 'a');
    expect([back.width, back.height, back.channels]).toEqual([width, height, 3]);
    expect(meanError(image, back)).toBeLessThan(format === 'png' ? 1e-9 : 4);
    expect(back.parameters).toEqual(drawn);
    const bare = await image.encode(format, { parameters: false });
    expect((await Image.decode(bare)).parameters).toBeUndefined();
    expect(Buffer.from(bare).includes('Steps')).toBe(false);
    const other = await image.encode(format, { parameters: { prompt: 'other' } });
    expect((await Image.decode(other)).parameters).toEqual({ prompt: 'other' });
  });

  test('any prompt round-trips through the file', async () => {
    const image = gradient(2, 2, 3);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), async (prompt) => {
        const bytes = await image.withParameters({ prompt, seed: 1 }).encode(format);
        expect((await Image.decode(bytes)).parameters).toEqual({ prompt, seed: 1 });
      }),
      fuzzRuns(60),
    );
  });

  test('a damaged file is a picture or one FormatError that names it', async () => {
    const bytes = await gradient(24, 16, 3).withParameters(drawn).encode(format);
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(edits, fc.option(fc.nat()), async (list, cut) => {
        const copy = bytes.slice(0, cut === null ? undefined : cut % (bytes.length + 1));
        for (const [at, value] of list) if (copy.length > 0) copy[at % copy.length] = value;
        try {
          const image = await Image.decode(copy, 'a.file');
          expect(image.width * image.height).toBeLessThanOrEqual(89_478_485);
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
          expect(error.message).toMatch(/^a\.file: /);
        }
      }),
      fuzzRuns(150),
    );
    // The codec works on after every failure.
    expect((await Image.decode(bytes)).width).toBe(24);
  });
});

test('quality makes files smaller', async () => {
  const image = gradient(64, 64, 3);
  for (const format of ['jpeg', 'webp'] as const) {
    const [low, high] = [
      await image.encode(format, { quality: 10 }),
      await image.encode(format, { quality: 100 }),
    ];
    expect(low.length).toBeLessThan(high.length);
    expect(meanError(image, await Image.decode(high))).toBeLessThan(
      meanError(image, await Image.decode(low)),
    );
  }
});

test('alpha stays in PNG and WebP; a JPEG shows it as white', async () => {
  const image = gradient(32, 32, 4);
  const webp = await Image.decode(await image.withParameters(drawn).encode('webp', { quality: 100 }));
  expect([webp.channels, webp.parameters]).toEqual([4, drawn]);
  const alphas = (of: Image): number[] => [...of.data].filter((_, i) => i % 4 === 3);
  expect(alphas(webp)).toEqual(alphas(image));
  const clear = new Image(8, 8, new Uint8ClampedArray(256));
  const jpeg = await Image.decode(await clear.encode('jpg'));
  expect([...jpeg.data.subarray(0, 3)]).toEqual([255, 255, 255]);
});

test('the ending chooses the format, and is what the file holds', async () => {
  const image = gradient(8, 8, 3);
  const starts = {
    'a.png': '89504e47',
    'a.jpg': 'ffd8ff',
    'a.JPEG': 'ffd8ff',
    'a.webp': '52494646',
    b: 'ffd8ff',
  };
  for (const [name, start] of Object.entries(starts)) {
    await image.save(join(folder, name), name === 'b' ? { format: 'jpeg' } : {});
    expect((await readFile(join(folder, name))).toString('hex')).toMatch(new RegExp(`^${start}`));
    expect((await Image.load(join(folder, name))).width).toBe(8);
  }
});

test.each<[string, object, string]>([
  ['c.gif', {}, 'c.gif: pictures are written as PNG, JPEG or WebP; let it end in .png, .jpg'],
  ['c', {}, 'or give a format'],
  ['c.constructor', {}, 'let it end in'],
  ['c.jpg', { format: 'png' }, 'c.jpg: its ending says JPEG, and format says PNG'],
  ['c.png', { format: 'bmp' }, "format: must be one of png, jpeg, webp, got 'bmp'"],
  ['c.png', { quality: 90 }, 'quality: PNG loses nothing and has none'],
  ['c.jpg', { quality: 0 }, 'quality: must be an integer from 1 to 100, got 0'],
  ['c.webp', { quality: 1.5 }, 'got 1.5'],
  ['c.webp', { quality: NaN }, 'got NaN'],
  ['c.webp', { qualty: 5 }, 'qualty'],
  ['c.webp', { parameters: {} }, 'parameters: must be true, false or a record with a prompt, got'],
  ['c.png', { parameters: null }, 'parameters: must be true, false or a record'],
])('save(%j, %j) is one error and writes nothing', async (name, options, message) => {
  const before = await readdir(folder);
  await expect(gradient(4, 4, 3).save(join(folder, name), options)).rejects.toThrow(message);
  expect(await readdir(folder)).toEqual(before);
});

test('what a format cannot hold is said before it is written', async () => {
  const long = gradient(4, 4, 3).withParameters({ prompt: 'x'.repeat(40_000), seed: 1 });
  await expect(long.encode('jpeg')).rejects.toThrow('parameters: a JPEG holds 65535 bytes of them');
  expect((await Image.decode(await long.encode('webp'))).parameters!.prompt.length).toBe(40_000);
  const wide = new Image(70_000, 1, new Uint8ClampedArray(210_000));
  await expect(wide.encode('jpeg')).rejects.toThrow('a JPEG has at most 65500 pixels an edge, got 70000x1');
  await expect(wide.encode('webp')).rejects.toThrow('a WebP has at most 16383 pixels an edge');
});

test.each<[string, string, string]>([
  ['a GIF', '474946383961', 'x: is a GIF; only PNG, JPEG and WebP are read'],
  ['nothing', '', 'not a readable PNG: it does not start as one'],
  ['half a JPEG', 'ffd8ffe000104a46', 'not a readable JPEG: it ends inside a segment'],
  ['a JPEG of no picture', 'ffd8ffd9', 'not a readable JPEG: it has no frame header'],
  ['a JPEG of 65535x65535', 'ffd8ffc0000b08ffffffff01001100ffd9', 'at most 89478485 are read'],
  ['a JPEG without width', 'ffd8ffc0000b080001000001001100ffd9', 'it is 0x1'],
  [
    'a JPEG in CMYK',
    'ffd8ffc000140800010001040011000111000211000311 00ffd9'.replace(' ', ''),
    'it is in CMYK',
  ],
  ['half a WebP', '52494646ff0000005745425056503820', 'its header tells of 263 bytes'],
  [
    'an animation',
    '52494646160000005745425056503858' + '0a000000' + '02000000000000000000',
    'it is an animation',
  ],
  ['a WebP of no picture', '524946460400000057454250', 'it holds no picture'],
])('%s is refused by name', async (_, hex, message) => {
  await expect(Image.decode(Buffer.from(hex, 'hex'), 'x')).rejects.toThrow(message);
});

test('a small JPEG of endless scans is refused, not decoded for hours', async () => {
  const frame = 'ffd8ffc2000b08200020000101110 0'.replace(' ', '');
  const scans = 'ffda00080101000001013f'.repeat(101);
  await expect(Image.decode(Buffer.from(`${frame}${scans}ffd9`, 'hex'), 'x')).rejects.toThrow(
    'more than 100 scans',
  );
});

test('comments are read in both orders of bytes, and from damaged data not at all', () => {
  expect(userCommentInExif(exifWithComment('Ā狐'))).toBe('Ā狐');
  const little = 'Steps: 1, x';
  const bytes = exifWithComment(little);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, value, cut) => {
      const copy = bytes.slice(0, cut);
      if (at < copy.length) copy[at] = value;
      expect(userCommentInExif(copy)?.length ?? 0).toBeLessThan(bytes.length);
    }),
    fuzzRuns(500),
  );
});
