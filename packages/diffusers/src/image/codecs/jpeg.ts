// JPEG by mozjpeg. Its segments are walked here first: sizes are checked and EXIF data found before anything is decoded.
// Reference: ITU-T T.81, annex B.

import { ArgumentError } from '@darkroom/core';
import { exifWithComment, orientationInExif, userCommentInExif } from '../exif.ts';
import type { Pixels } from '../pixels.ts';
import { upright } from '../pixels.ts';
import { Codec, toRgba, withoutAlpha } from './codec.ts';
import type { Decoder, Encoder } from './codec.ts';
import { failing, requireSize } from './limits.ts';
import type { Fail } from './limits.ts';

const decoder = new Codec<Decoder>(
  '@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm',
  () => import('@jsquash/jpeg/codec/dec/mozjpeg_dec.js'),
);
const encoder = new Codec<Encoder>(
  '@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm',
  () => import('@jsquash/jpeg/codec/enc/mozjpeg_enc.js'),
);

/** Scans at most: each may touch every pixel, so that a small file of many would take hours. */
const maxScans = 100;
/** Bytes of a segment at most, with the two of its length. */
const maxSegment = 65_535;
const maxEdge = 65_500;
const exifMark = Uint8Array.from('Exif\0\0', (c) => c.charCodeAt(0));
const ycbcr = 3;

/** mozjpeg's defaults; chroma is halved below a quality of 90, as its own programs do. */
const settings = {
  baseline: false,
  arithmetic: false,
  progressive: true,
  optimize_coding: true,
  smoothing: 0,
  color_space: ycbcr,
  quant_table: 3,
  trellis_multipass: false,
  trellis_opt_zero: false,
  trellis_opt_table: false,
  trellis_loops: 1,
  auto_subsample: true,
  chroma_subsample: 2,
  separate_chroma_quality: false,
  chroma_quality: 75,
};

/** A picture and the comment that was written beside it. */
export interface Decoded {
  readonly pixels: Pixels;
  readonly comment: string | undefined;
}

/** RGB, upright as the EXIF data says. `name` is for messages. @throws FormatError */
export async function decodeJpeg(file: Uint8Array, name: string): Promise<Decoded> {
  const fail = failing(name, 'JPEG');
  const { width, height, components, exif } = readSegments(file, fail);
  requireSize(width, height, fail);
  if (components === 4) fail('it is in CMYK, made for printing; only grey and colours of light are read');
  const decoded = await decoder.use((codec) => attempt(() => codec.decode(file, false), fail));
  if (decoded?.width !== width || decoded.height !== height) return fail('its data cannot be decoded');
  const pixels: Pixels = { width, height, channels: 3, data: withoutAlpha(decoded.data) };
  return {
    pixels: upright(pixels, (exif && orientationInExif(exif)) ?? 1),
    comment: exif && userCommentInExif(exif),
  };
}

/** What `body` gives; a failure of the codec by `fail`. */
export function attempt<R>(body: () => R, fail: Fail): R {
  try {
    return body();
  } catch {
    return fail('its data cannot be decoded');
  }
}

/** `comment` is written as EXIF data. @throws ArgumentError for what a JPEG cannot hold */
export async function encodeJpeg(
  { width, height, channels, data }: Pixels,
  quality: number,
  comment: string | undefined,
): Promise<Uint8Array> {
  if (Math.max(width, height) > maxEdge)
    throw new ArgumentError(`image: a JPEG has at most ${maxEdge} pixels an edge, got ${width}x${height}`);
  const exif = comment === undefined ? undefined : exifSegment(comment);
  const options = { ...settings, quality };
  const jpeg = await encoder.use((codec) => codec.encode(toRgba(data, channels), width, height, options));
  if (!jpeg) throw new ArgumentError(`image: ${width}x${height} could not be written as a JPEG`);
  return exif ? insertAfterHeader(jpeg, exif) : jpeg.slice();
}

function exifSegment(comment: string): Uint8Array {
  const tiff = exifWithComment(comment);
  const length = 2 + exifMark.length + tiff.length;
  if (length > maxSegment)
    throw new ArgumentError(
      `parameters: a JPEG holds ${maxSegment} bytes of them, got ${length}; shorten the prompt, save as PNG or WebP, or ` +
        'give parameters: false',
    );
  return Uint8Array.of(0xff, 0xe1, length >> 8, length & 255, ...exifMark, ...tiff);
}

/** Behind the JFIF header, where readers look for it. */
function insertAfterHeader(jpeg: Uint8Array, segment: Uint8Array): Uint8Array {
  const at = jpeg[3] === 0xe0 ? 4 + ((jpeg[4]! << 8) | jpeg[5]!) : 2;
  const out = new Uint8Array(jpeg.length + segment.length);
  out.set(jpeg.subarray(0, at));
  out.set(segment, at);
  out.set(jpeg.subarray(at), at + segment.length);
  return out;
}

interface Segments {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  /** EXIF data, with its mark. */
  readonly exif: Uint8Array | undefined;
}

const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
const standsAlone = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);

function readSegments(file: Uint8Array, fail: Fail): Segments {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let frame: Omit<Segments, 'exif'> | undefined;
  let exif: Uint8Array | undefined;
  let scans = 0;
  for (let at = 0; ;) {
    at = nextMarker(file, at);
    if (at < 0) return fail('it ends before its end is marked');
    const marker = file[at + 1]!;
    at += 2;
    if (marker === 0xd9) break;
    if (standsAlone(marker)) continue;
    if (at + 2 > file.length || at + view.getUint16(at) > file.length)
      return fail('it ends inside a segment');
    const end = at + view.getUint16(at);
    const body = file.subarray(at + 2, end);
    if (isFrame(marker) && !frame) {
      if (body.length < 6) return fail('its frame header is too short');
      const height = (body[1]! << 8) | body[2]!;
      const width = (body[3]! << 8) | body[4]!;
      frame = { width, height, components: body[5]! };
    }
    if (marker === 0xe1 && !exif && exifMark.every((byte, i) => body[i] === byte)) exif = body;
    if (marker === 0xda && ++scans > maxScans) return fail(`it has more than ${maxScans} scans`);
    at = Math.max(end, at + 2);
  }
  return frame ? { ...frame, exif } : fail('it has no frame header');
}

/** Place of the next marker's 0xff, behind the data of a scan too; -1 where there is none. */
function nextMarker(file: Uint8Array, from: number): number {
  for (let at = file.indexOf(0xff, from); at >= 0; at = file.indexOf(0xff, at + 1)) {
    const next = file[at + 1];
    if (next === undefined) return -1;
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return -1;
}
