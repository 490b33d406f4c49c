// PNG → 8-bit RGB or RGBA, upright: every kind, depth and order of pixels that the format has. Colours as Pillow gives
// them: the high byte of 16 bits, transparent colours as alpha, no gamma and no profile.

import { failing } from '../codecs/limits.ts';
import { upright } from '../pixels.ts';
import type { Pixels } from '../pixels.ts';
import { readPng } from './chunks.ts';
import type { Fail, Png } from './chunks.ts';
import { inflateUpTo } from './inflate.ts';
import { orientationOf } from './orientation.ts';
import { dataBytes, samplesOf } from './samples.ts';
import { textOf } from './text.ts';

/** A picture and the texts that tools write beside it. */
export interface DecodedPng {
  readonly pixels: Pixels;
  /** The text under 'parameters'. */
  readonly comment: string | undefined;
}

/** `name` is for messages. @throws FormatError */
export function decodePng(file: Uint8Array, name: string): DecodedPng {
  const fail = failing(name, 'PNG');
  const png = readPng(file, fail);
  const { header } = png;
  const orientation = orientationOf(png, fail);
  const wanted = dataBytes(header);
  const data = inflateUpTo(png.data, wanted, fail);
  if (data.length < wanted)
    fail(`it is ${header.width}x${header.height}, ${wanted} bytes, but holds ${data.length}`);
  const pixels = upright(colours(png, samplesOf(header, data, fail), fail), orientation);
  return { pixels, comment: commentOf(png) };
}

/** The text of parameters; undefined too where it cannot be read, which spoils no picture. */
function commentOf({ texts }: Png): string | undefined {
  try {
    return textOf(texts, 'parameters', failing('parameters', 'text'));
  } catch {
    return undefined;
  }
}

function colours(png: Png, samples: Uint8Array | Uint16Array, fail: Fail): Pixels {
  const { width, height, depth, kind, channels: from } = png.header;
  if (kind === 'palette') return fromPalette(png, samples as Uint8Array, fail);
  const isGrey = kind === 'grey' || kind === 'greyAlpha';
  const hasAlpha = kind === 'greyAlpha' || kind === 'rgba';
  const key = hasAlpha ? undefined : colourKey(png, fail);
  const channels = hasAlpha || key ? 4 : 3;
  const data = new Uint8ClampedArray(width * height * channels);
  const byte = (v: number): number =>
    depth === 16 ? v >> 8 : depth === 8 ? v : (v * 255) / (2 ** depth - 1);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data[i * channels + c] = byte(samples[i * from + (isGrey ? 0 : c)]!);
    if (hasAlpha) data[i * 4 + 3] = byte(samples[i * from + from - 1]!);
    else if (key) data[i * 4 + 3] = key.every((v, c) => samples[i * from + c] === v) ? 0 : 255;
  }
  return { width, height, channels, data };
}

/** The colour that is transparent, in samples as they are stored. */
function colourKey({ header, transparency }: Png, fail: Fail): readonly number[] | undefined {
  if (!transparency) return undefined;
  if (transparency.length !== 2 * header.channels)
    fail(`its chunk tRNS must have ${2 * header.channels} bytes, got ${transparency.length}`);
  const view = new DataView(transparency.buffer, transparency.byteOffset, transparency.byteLength);
  return Array.from({ length: header.channels }, (_, c) => view.getUint16(2 * c) & (2 ** header.depth - 1));
}

/** Indices beyond the palette are black. */
function fromPalette({ header, palette, transparency }: Png, indices: Uint8Array, fail: Fail): Pixels {
  const { width, height } = header;
  if (!palette || palette.length === 0 || palette.length % 3 !== 0 || palette.length > 768)
    return fail(`its palette must have 1 to 256 colours of 3 bytes, got ${palette?.length ?? 0} bytes`);
  const channels = transparency ? 4 : 3;
  const data = new Uint8ClampedArray(width * height * channels);
  for (const [i, index] of indices.entries()) {
    for (let c = 0; c < 3; c++) data[i * channels + c] = palette[3 * index + c] ?? 0;
    if (transparency) data[i * 4 + 3] = transparency[index] ?? 255;
  }
  return { width, height, channels, data };
}
