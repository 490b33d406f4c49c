// PNGs of every kind against Pillow, and files that nobody would write.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { unzlibSync, zlibSync } from 'fflate';
import { FormatError } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { describe, expect, test } from 'vitest';
import { root } from '../../node/testing.ts';
import { Image } from '../image.ts';
import { preprocessMask } from '../preprocess.ts';

interface Picture {
  readonly name: string;
  readonly png: string;
  readonly width: number;
  readonly height: number;
  readonly rgb: string;
  readonly l: string;
  readonly alpha?: string;
}

const { cases } = JSON.parse(readFileSync(join(root, 'fixtures/png/pictures.json'), 'utf8')) as {
  cases: Picture[];
};
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

describe('as Pillow draws it', () => {
  test.each(cases.map((c) => [c.name, c] as const))('%s', async (_, picture) => {
    const { width, height, channels, data } = Image.fromPng(bytes(picture.png), 'a.png');
    expect([width, height, channels]).toEqual([picture.width, picture.height, picture.alpha ? 4 : 3]);
    expect([...data].filter((_, i) => i % channels < 3)).toEqual([...bytes(picture.rgb)]);
    if (picture.alpha) expect([...data].filter((_, i) => i % 4 === 3)).toEqual([...bytes(picture.alpha)]);
    const mask = await preprocessMask('mask', new Image(width, height, data), { width, height });
    expect([...mask.values]).toEqual([...bytes(picture.l)].map((v) => (v >= 128 ? 1 : 0)));
  });
});

/** A chunk with its length and checksum. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

function header(width: number, height: number, ...rest: readonly number[]): Uint8Array {
  const out = new Uint8Array(13);
  const view = new DataView(out.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  out.set(rest, 8);
  return chunk('IHDR', out);
}

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const file = (...chunks: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(Buffer.concat([signature, ...chunks, chunk('IEND', new Uint8Array())]));

const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const grey2x1 = header(2, 1, 8, 0, 0, 0, 0);
const data = chunk('IDAT', zlibSync(Uint8Array.of(0, 7, 9)));
const drawn = [7, 7, 7, 9, 9, 9];

/** A zlib stream of so many megabytes of zeros, a thousandth of that itself. */
function bomb(megabytes: number): Uint8Array {
  const one = deflateRawSync(new Uint8Array(2 ** 20), { finishFlush: constants.Z_SYNC_FLUSH });
  const pieces = Array<Uint8Array>(megabytes).fill(one);
  return Uint8Array.from(Buffer.concat([latin1('\x78\x9c'), ...pieces, latin1('\x03\0\0\0\0\0')]));
}

describe('bombs are not inflated', () => {
  const whole = bomb(860);
  test.each<[string, Uint8Array, readonly number[] | string]>([
    ['a colour profile of 860 MB', file(grey2x1, chunk('iCCP', join8('p\0\0', whole)), data), drawn],
    ['a text of 860 MB', file(grey2x1, chunk('zTXt', join8('Comment\0\0', whole)), data), drawn],
    ['picture data of 860 MB', file(grey2x1, chunk('IDAT', whole)), [0, 0, 0, 0, 0, 0]],
    [
      'EXIF data of 860 MB',
      file(grey2x1, chunk('zTXt', join8('Raw profile type exif\0\0', whole)), data),
      "its text 'Raw profile type exif' is longer than 1048576 bytes",
    ],
    [
      '20000x20000 at 1 bit',
      file(header(20_000, 20_000, 1, 0, 0, 0, 0), chunk('IDAT', whole)),
      'it is 20000x20000, 400000000 pixels; at most 89478485 are read',
    ],
    [
      'a size without its data',
      file(header(9000, 9000, 16, 6, 0, 0, 0), data),
      'it is 9000x9000, 648009000 bytes, but holds 3',
    ],
  ])('%s', (_, png, outcome) => {
    const before = process.resourceUsage().maxRSS;
    if (typeof outcome === 'string') expect(() => Image.fromPng(png, 'a.png')).toThrow(outcome);
    else expect([...Image.fromPng(png).data]).toEqual(outcome);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(100_000); // kilobytes
  });
});

function join8(prefix: string, rest: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([latin1(prefix), rest]));
}

test.each<[string, Uint8Array, string]>([
  ['no file', new Uint8Array(), 'not a readable PNG: it does not start as one'],
  ['a text', latin1('hello, I am a text'), 'it does not start as one'],
  [
    'a JPEG',
    latin1('\xff\xd8\xff\xe0\0\x10JFIF\0'),
    'is a JPEG; fromPng reads PNG, Image.decode JPEG and WebP too',
  ],
  ['a GIF', latin1('GIF89a\x01\0\x01\0'), 'is a GIF;'],
  ['a WebP', latin1('RIFF\x10\0\0\0WEBPVP8 '), 'is a WebP;'],
  ['a BMP', latin1('BM\x10\0\0\0'), 'is a BMP;'],
  ['a TIFF', latin1('II*\0\x08\0\0\0'), 'is a TIFF;'],
  ['a TIFF', latin1('MM\0*\0\0\0\x08'), 'is a TIFF;'],
  ['an AVIF', latin1('\0\0\0\x20ftypavif'), 'is a AVIF or HEIF;'],
  ['a signature alone', signature, 'it has no header'],
  ['no header', file(data), 'it does not start with a header'],
  ['no data', file(grey2x1), 'it holds no picture data'],
  ['a file cut short', file(grey2x1, data).subarray(0, 50), 'it ends inside its chunk IDAT'],
  [
    'a chunk of 4 GB',
    join8(String.fromCharCode(...signature, 255, 255, 255, 255) + 'IHDR', data),
    'ends inside its chunk',
  ],
  ['a chunk without a name', file(grey2x1, chunk('\0\0\0\0', data)), 'a chunk has no name'],
  ['no width', file(header(0, 1, 8, 0, 0, 0, 0), data), 'it is 0x1'],
  ['a colour type', file(header(2, 1, 8, 1, 0, 0, 0), data), 'it has 8 bits a sample and colour type 1'],
  ['a depth', file(header(2, 1, 4, 2, 0, 0, 0), data), 'it has 4 bits a sample and colour type 2'],
  ['an interlace method', file(header(2, 1, 8, 0, 0, 0, 2), data), 'must be 0, 0 and 0 or 1, got 0, 0 and 2'],
  ['a filter', file(grey2x1, chunk('IDAT', zlibSync(Uint8Array.of(5, 7, 9)))), 'a line has filter 5'],
  ['too little data', file(header(2, 2, 8, 0, 0, 0, 0), data), 'it is 2x2, 6 bytes, but holds 3'],
  [
    'data that is not zlib',
    file(grey2x1, chunk('IDAT', latin1('not zlib at all'))),
    'its data cannot be inflated',
  ],
  ['no palette', file(header(2, 1, 8, 3, 0, 0, 0), data), 'its palette must have 1 to 256 colours'],
  ['half a palette', file(header(2, 1, 8, 3, 0, 0, 0), chunk('PLTE', latin1('abcd')), data), 'got 4 bytes'],
  [
    'a transparent half',
    file(grey2x1, chunk('tRNS', latin1('a')), data),
    'its chunk tRNS must have 2 bytes, got 1',
  ],
  ['EXIF that is none', file(grey2x1, chunk('eXIf', latin1('nonsense!')), data), 'its EXIF data'],
])('%s is refused by name', (_, png, message) => {
  const error = refusal(png);
  expect(error).toContain(message);
});

/** The message of a FormatError; undefined where a picture came. Any other error comes through. */
function refusal(png: Uint8Array): string | undefined {
  try {
    const { width, height, data: pixels } = Image.fromPng(png, 'a.png');
    expect([3, 4]).toContain(pixels.length / (width * height));
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    expect(error.message).toMatch(/^a\.png: (not a readable PNG: |is a )./);
    expect(error.message.length).toBeLessThan(300);
    return error.message;
  }
}

test('every damaged checksum is found, and named with its chunk', () => {
  const text = chunk('tEXt', latin1('Comment\0x'));
  const whole = file(grey2x1, text, data);
  for (let at = signature.length + 8; at < whole.length - 12; at++) {
    const copy = whole.slice();
    copy[at]! ^= 1;
    expect(refusal(copy)).toMatch(/damaged \(CRC\)|ends inside|no name/);
  }
});

test('a file without its end is drawn, and so is what lies behind the end', () => {
  const whole = file(grey2x1, data);
  expect([...Image.fromPng(whole.subarray(0, whole.length - 12)).data]).toEqual(drawn);
  expect([...Image.fromPng(join8(Buffer.from(whole).toString('latin1'), data)).data]).toEqual(drawn);
});

describe('fuzz: a picture, or one FormatError that names the file', () => {
  const pictures = cases.map(({ png }) => bytes(png));
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });

  test('bytes changed and files cut', () => {
    const any = fc.tuple(fc.constantFrom(...pictures), edits, fc.option(fc.nat()));
    fc.assert(
      fc.property(any, ([png, list, cut]) => {
        const copy = png.slice(0, cut === null ? undefined : cut % (png.length + 1));
        for (const [at, value] of list) if (copy.length > 0) copy[at % copy.length] = value;
        refusal(copy);
      }),
      fuzzRuns(2000),
    );
  });

  test('chunks changed, left out, doubled and exchanged, with good checksums', () => {
    let drawnCount = 0;
    const change = fc.tuple(
      fc.constantFrom('edit', 'drop', 'double', 'swap', 'cut', 'inflated'),
      fc.nat(),
      edits,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...pictures),
        fc.array(change, { minLength: 1, maxLength: 3 }),
        (png, changes) => {
          let parts = chunksOf(png);
          for (const [kind, at, list] of changes)
            if (parts.length > 0) parts = changed(parts, kind, at, list);
          const again = parts.map(([type, body]) => chunk(type, body));
          // A large size costs memory that its data does not fill, not correctness.
          if (pixelsOf(again[0]) > 1e6) return;
          if (refusal(new Uint8Array(Buffer.concat([signature, ...again]))) === undefined) drawnCount++;
        },
      ),
      fuzzRuns(2000),
    );
    expect(drawnCount).toBeGreaterThan(100);
  });
});

type Parts = [type: string, body: Uint8Array][];

function chunksOf(png: Uint8Array): Parts {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const parts: Parts = [];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    const type = String.fromCharCode(...png.subarray(at + 4, at + 8));
    parts.push([type, png.slice(at + 8, at + 8 + view.getUint32(at))]);
  }
  return parts;
}

function changed(
  parts: Parts,
  kind: string,
  at: number,
  edits: readonly (readonly [number, number])[],
): Parts {
  const i = at % parts.length;
  const [type, body] = parts[i]!;
  const edited = (from: Uint8Array): Uint8Array => {
    const copy = from.slice();
    for (const [where, value] of edits) if (copy.length > 0) copy[where % copy.length] = value;
    return copy;
  };
  if (kind === 'drop') return parts.toSpliced(i, 1);
  if (kind === 'double') return parts.toSpliced(i, 0, parts[i]!);
  if (kind === 'swap') return parts.toSpliced(i, 1).toSpliced(edits[0]![0] % parts.length, 0, parts[i]!);
  if (kind === 'cut') return parts.with(i, [type, body.slice(0, edits[0]![0] % (body.length + 1))]);
  if (kind === 'edit') return parts.with(i, [type, edited(body)]);
  // Scanlines changed behind the compression.
  return parts.map(([t, b]) => [
    t,
    t === 'IDAT' && parts.filter(([x]) => x === t).length === 1 ? recompressed(b, edited) : b,
  ]);
}

function recompressed(body: Uint8Array, edit: (from: Uint8Array) => Uint8Array): Uint8Array {
  try {
    return zlibSync(edit(unzlibSync(body)));
  } catch {
    return body;
  }
}

function pixelsOf(ihdr: Uint8Array | undefined): number {
  if (!ihdr || ihdr.length < 25) return 0;
  const view = new DataView(ihdr.buffer, ihdr.byteOffset);
  return view.getUint32(8) * view.getUint32(12);
}
