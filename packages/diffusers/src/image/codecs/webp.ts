// WebP by libwebp. Its chunks are walked here first: sizes are checked and EXIF data found before anything is decoded.
// Reference: the WebP container specification.

import { ArgumentError } from '@darkroom/core';
import { exifWithComment, orientationInExif, userCommentInExif } from '../exif.ts';
import type { Pixels } from '../pixels.ts';
import { upright } from '../pixels.ts';
import { Codec, toRgba, withoutAlpha } from './codec.ts';
import type { Decoder, Encoder } from './codec.ts';
import { attempt } from './jpeg.ts';
import type { Decoded } from './jpeg.ts';
import { failing, requireSize } from './limits.ts';
import type { Fail } from './limits.ts';

const decoder = new Codec<Decoder>(
  '@jsquash/webp/codec/dec/webp_dec.wasm',
  () => import('@jsquash/webp/codec/dec/webp_dec.js'),
);
const encoder = new Codec<Encoder>(
  '@jsquash/webp/codec/enc/webp_enc_simd.wasm',
  () => import('@jsquash/webp/codec/enc/webp_enc_simd.js'),
);

const maxEdge = 16_383;
const [animationFlag, exifFlag, alphaFlag] = [0x02, 0x08, 0x10] as const;
const latin1 = new TextDecoder('latin1');

/** libwebp's defaults. */
const settings = {
  target_size: 0,
  target_PSNR: 0,
  method: 4,
  sns_strength: 50,
  filter_strength: 60,
  filter_sharpness: 0,
  filter_type: 1,
  partitions: 0,
  segments: 4,
  pass: 1,
  show_compressed: 0,
  preprocessing: 0,
  autofilter: 0,
  partition_limit: 0,
  alpha_compression: 1,
  alpha_filtering: 1,
  alpha_quality: 100,
  lossless: 0,
  exact: 0,
  image_hint: 0,
  emulate_jpeg_size: 0,
  thread_level: 0,
  low_memory: 0,
  near_lossless: 100,
  use_delta_palette: 0,
  use_sharp_yuv: 0,
};

/** RGB, or RGBA where the file has alpha; upright as the EXIF data says. @throws FormatError */
export async function decodeWebp(file: Uint8Array, name: string): Promise<Decoded> {
  const fail = failing(name, 'WebP');
  const { width, height, hasAlpha, exif } = readChunks(file, fail);
  requireSize(width, height, fail);
  const decoded = await decoder.use((codec) => attempt(() => codec.decode(file), fail));
  if (decoded?.width !== width || decoded.height !== height) return fail('its data cannot be decoded');
  const data = hasAlpha ? decoded.data : withoutAlpha(decoded.data);
  const pixels: Pixels = { width, height, channels: hasAlpha ? 4 : 3, data };
  return {
    pixels: upright(pixels, (exif && orientationInExif(exif)) ?? 1),
    comment: exif && userCommentInExif(exif),
  };
}

/** `comment` is written as EXIF data. @throws ArgumentError for what a WebP cannot hold */
export async function encodeWebp(
  { width, height, channels, data }: Pixels,
  quality: number,
  comment: string | undefined,
): Promise<Uint8Array> {
  if (Math.max(width, height) > maxEdge)
    throw new ArgumentError(`image: a WebP has at most ${maxEdge} pixels an edge, got ${width}x${height}`);
  const options = { ...settings, quality };
  const webp = await encoder.use((codec) => codec.encode(toRgba(data, channels), width, height, options));
  if (!webp) throw new ArgumentError(`image: ${width}x${height} could not be written as a WebP`);
  return comment === undefined ? webp.slice() : withExif(webp, exifWithComment(comment));
}

interface Chunk {
  readonly type: string;
  readonly body: Uint8Array;
}

function* chunksOf(file: Uint8Array, fail: Fail): Generator<Chunk> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 12) return fail('it ends inside its header');
  const end = 8 + view.getUint32(4, true);
  if (end > file.length) return fail(`its header tells of ${end} bytes, but it has ${file.length}`);
  for (let at = 12; at + 8 <= end;) {
    const length = view.getUint32(at + 4, true);
    const type = latin1.decode(file.subarray(at, at + 4));
    if (at + 8 + length > end) return fail('it ends inside a chunk');
    yield { type, body: file.subarray(at + 8, at + 8 + length) };
    at += 8 + length + (length & 1);
  }
}

interface Found {
  readonly width: number;
  readonly height: number;
  readonly hasAlpha: boolean;
}

function readChunks(file: Uint8Array, fail: Fail): Found & { readonly exif: Uint8Array | undefined } {
  let picture: Found | undefined;
  let alpha = false;
  let exif: Uint8Array | undefined;
  for (const { type, body } of chunksOf(file, fail)) {
    if (type === 'VP8X' && (body[0] ?? 0) & animationFlag)
      return fail('it is an animation; only still pictures are read');
    if (type === 'ALPH') alpha = true;
    if (type === 'EXIF') exif ??= body;
    picture ??= sizeOf(type, body);
  }
  if (!picture) return fail('it holds no picture');
  return { ...picture, hasAlpha: picture.hasAlpha || alpha, exif };
}

/** Size in the header of a lossy or lossless picture; undefined for other chunks. */
function sizeOf(type: string, body: Uint8Array): Found | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (type === 'VP8 ' && body.length >= 10)
    return {
      width: view.getUint16(6, true) & 0x3fff,
      height: view.getUint16(8, true) & 0x3fff,
      hasAlpha: false,
    };
  if (type !== 'VP8L' || body.length < 5) return undefined;
  const bits = view.getUint32(1, true);
  return {
    width: (bits & 0x3fff) + 1,
    height: ((bits >>> 14) & 0x3fff) + 1,
    hasAlpha: ((bits >>> 28) & 1) === 1,
  };
}

/** The file in the extended form, with EXIF data behind the picture. */
function withExif(file: Uint8Array, exif: Uint8Array): Uint8Array {
  const fail = failing('image', 'WebP');
  const { width, height, hasAlpha } = readChunks(file, fail);
  const header = new Uint8Array(10);
  header[0] = exifFlag | (hasAlpha ? alphaFlag : 0);
  const [w, h] = [width - 1, height - 1];
  header.set([w & 255, (w >> 8) & 255, w >> 16, h & 255, (h >> 8) & 255, h >> 16], 4);
  const chunks = [
    { type: 'VP8X', body: header },
    ...[...chunksOf(file, fail)].filter(({ type }) => type !== 'VP8X'),
    { type: 'EXIF', body: exif },
  ];
  const padded = (length: number): number => 8 + length + (length & 1);
  const out = new Uint8Array(chunks.reduce((n, { body }) => n + padded(body.length), 12));
  const view = new DataView(out.buffer);
  const text = (at: number, chars: string): void =>
    out.set(
      Uint8Array.from(chars, (c) => c.charCodeAt(0)),
      at,
    );
  text(0, 'RIFF');
  view.setUint32(4, out.length - 8, true);
  text(8, 'WEBP');
  let at = 12;
  for (const { type, body } of chunks) {
    text(at, type);
    view.setUint32(at + 4, body.length, true);
    out.set(body, at + 8);
    at += padded(body.length);
  }
  return out;
}
