// The orientation that a camera wrote beside the pixels, and pixels turned upright by it. It stands in a PNG's EXIF chunk,
// in a text that ImageMagick writes the same data to, or in XMP: where Pillow finds it, in the same order.

import type { Chunk, Fail, Png } from './chunks.ts';
import { inflateUpTo } from './inflate.ts';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8ClampedArray;
}

/** Bytes of an inflated text at most, as in Pillow. */
const maxText = 2 ** 20;
const orientationTag = 0x0112;

/** The orientation, 1 to 8 as in EXIF; 1 if the file has none. */
export function orientationOf({ exif, texts }: Png, fail: Fail): number {
  const raw = textOf(texts, 'Raw profile type exif', fail)?.split('\n').slice(3).join('');
  const profile = exif ?? (raw === undefined ? undefined : bytesOfHex(raw));
  const written = profile && orientationInExif(profile, fail);
  if (written !== undefined) return written;
  const xmp = textOf(texts, 'XML:com.adobe.xmp', fail);
  return Number(/tiff:Orientation(?:="|>)([0-9])/.exec(xmp ?? '')?.[1] ?? 1);
}

/** The first directory of a TIFF: entries of tag, type, count and value. */
function orientationInExif(profile: Uint8Array, fail: Fail): number | undefined {
  const start = String.fromCharCode(...profile.subarray(0, 6)) === 'Exif\0\0' ? 6 : 0;
  const tiff = new DataView(profile.buffer, profile.byteOffset + start, profile.byteLength - start);
  const order = tiff.byteLength < 8 ? 0 : tiff.getUint16(0);
  const isLittle = order === 0x4949;
  if ((!isLittle && order !== 0x4d4d) || tiff.getUint16(2, isLittle) !== 42)
    return fail('its EXIF data, which may say how it is turned, cannot be read');
  const directory = tiff.getUint32(4, isLittle);
  const fits = (at: number, bytes: number): boolean => at + bytes <= tiff.byteLength;
  const entries = fits(directory, 2) ? tiff.getUint16(directory, isLittle) : 0;
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (!fits(at, 12)) return undefined;
    if (tiff.getUint16(at, isLittle) !== orientationTag) continue;
    const isShort = tiff.getUint16(at + 2, isLittle) === 3;
    return isShort ? tiff.getUint16(at + 8, isLittle) : tiff.getUint32(at + 8, isLittle);
  }
  return undefined;
}

const latin1 = new TextDecoder('latin1');

/** The text under a keyword; undefined where there is none. */
function textOf(texts: readonly Chunk[], keyword: string, fail: Fail): string | undefined {
  const chunk = texts.find(
    ({ data }) => latin1.decode(data.subarray(0, keyword.length + 1)) === `${keyword}\0`,
  );
  if (!chunk) return undefined;
  let [body, isCompressed] = [chunk.data.subarray(keyword.length + 1), chunk.type === 'zTXt'];
  if (chunk.type === 'zTXt') body = body.subarray(1);
  if (chunk.type === 'iTXt') {
    isCompressed = body[0] === 1;
    const language = body.indexOf(0, 2);
    const translated = body.indexOf(0, language + 1);
    body = body.subarray(translated + 1);
  }
  if (!isCompressed) return latin1.decode(body);
  const text = inflateUpTo([body], maxText + 1, fail);
  if (text.length > maxText) fail(`its text '${keyword}' is longer than ${maxText} bytes`);
  return latin1.decode(text);
}

function bytesOfHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}

/** Source pixel of an upright one: whether the axes are exchanged, and which of them then run backwards. */
const turns: Readonly<Record<number, readonly [swaps: boolean, backX: boolean, backY: boolean]>> = {
  2: [false, true, false],
  3: [false, true, true],
  4: [false, false, true],
  5: [true, false, false],
  6: [true, false, true],
  7: [true, true, true],
  8: [true, true, false],
};

export function upright(pixels: Pixels, orientation: number): Pixels {
  const turn = turns[orientation];
  if (!turn) return pixels;
  const [swaps, backX, backY] = turn;
  const { channels } = pixels;
  const [width, height] = swaps ? [pixels.height, pixels.width] : [pixels.width, pixels.height];
  const data = new Uint8ClampedArray(pixels.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = swaps ? [y, x] : [x, y];
      const from = (backY ? pixels.height - 1 - v : v) * pixels.width + (backX ? pixels.width - 1 - u : u);
      for (let c = 0; c < channels; c++)
        data[(y * width + x) * channels + c] = pixels.data[from * channels + c]!;
    }
  }
  return { width, height, channels, data };
}
