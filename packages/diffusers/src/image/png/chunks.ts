// The chunks of a PNG, checked one by one. Nothing is inflated here: sizes are known and bounded before that.
// Reference: the PNG specification, third edition; limits as Pillow's.

import { requireSize } from '../codecs/limits.ts';
import type { Fail } from '../codecs/limits.ts';

export type { Fail } from '../codecs/limits.ts';

export interface PngHeader {
  readonly width: number;
  readonly height: number;
  /** Bits of a sample. */
  readonly depth: number;
  readonly kind: ColourKind;
  /** Samples of a pixel, as stored. */
  readonly channels: number;
  readonly isInterlaced: boolean;
}

export type ColourKind = 'grey' | 'rgb' | 'palette' | 'greyAlpha' | 'rgba';

export interface Png {
  readonly header: PngHeader;
  /** Pieces of the compressed picture. */
  readonly data: readonly Uint8Array[];
  readonly palette: Uint8Array | undefined;
  readonly transparency: Uint8Array | undefined;
  readonly exif: Uint8Array | undefined;
  /** Chunks of text, of which some hold an orientation too. */
  readonly texts: readonly Chunk[];
}

export interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
}

const kinds: readonly (readonly [
  code: number,
  kind: ColourKind,
  channels: number,
  depths: readonly number[],
])[] = [
  [0, 'grey', 1, [1, 2, 4, 8, 16]],
  [2, 'rgb', 3, [8, 16]],
  [3, 'palette', 1, [1, 2, 4, 8]],
  [4, 'greyAlpha', 2, [8, 16]],
  [6, 'rgba', 4, [8, 16]],
];

const textTypes = new Set(['tEXt', 'zTXt', 'iTXt']);

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

export const isPng = (file: Uint8Array): boolean => signature.every((byte, i) => file[i] === byte);

export function readPng(file: Uint8Array, fail: Fail): Png {
  if (!isPng(file)) fail('it does not start as one');
  let header: PngHeader | undefined;
  const one = new Map<string, Uint8Array>();
  const data: Uint8Array[] = [];
  const texts: Chunk[] = [];
  for (const chunk of chunksOf(file, fail)) {
    if (header === undefined) header = readHeader(chunk, fail);
    else if (chunk.type === 'IDAT') data.push(chunk.data);
    else if (textTypes.has(chunk.type)) texts.push(chunk);
    else if (!one.has(chunk.type)) one.set(chunk.type, chunk.data);
  }
  if (header === undefined) return fail('it has no header');
  if (data.length === 0) fail('it holds no picture data');
  return {
    header,
    data,
    palette: one.get('PLTE'),
    transparency: one.get('tRNS'),
    exif: one.get('eXIf'),
    texts,
  };
}

/** Chunks up to IEND, or up to the end of a file that lost it. */
function* chunksOf(file: Uint8Array, fail: Fail): Generator<Chunk> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = signature.length; at < file.length;) {
    if (at + 12 > file.length) return fail('it ends inside a chunk');
    const length = view.getUint32(at);
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) return fail('a chunk has no name');
    const end = at + 8 + length;
    if (end + 4 > file.length) return fail(`it ends inside its chunk ${type}`);
    if (crc32(file, at + 4, end) !== view.getUint32(end)) return fail(`its chunk ${type} is damaged (CRC)`);
    yield { type, data: file.subarray(at + 8, end) };
    if (type === 'IEND') return;
    at = end + 4;
  }
}

/** A chunk as it stands in a file: length, type, data, checksum. */
export function chunkBytes(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) out[4 + i] = type.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out, 4, 8 + data.length));
  return out;
}

/** The file with a chunk behind its header, which every PNG of ours has. */
export function insertChunk(png: Uint8Array, chunk: Uint8Array): Uint8Array {
  const at = signature.length + 25;
  const out = new Uint8Array(png.length + chunk.length);
  out.set(png.subarray(0, at));
  out.set(chunk, at);
  out.set(png.subarray(at), at + chunk.length);
  return out;
}

function readHeader({ type, data }: Chunk, fail: Fail): PngHeader {
  if (type !== 'IHDR' || data.length !== 13) return fail('it does not start with a header');
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, code, compression, filter, interlace] = data.subarray(8) as unknown as number[];
  const found = kinds.find(([c, , , depths]) => c === code && depths.includes(depth!));
  if (!found) return fail(`it has ${depth} bits a sample and colour type ${code}, which do not go together`);
  if (compression !== 0 || filter !== 0 || interlace! > 1)
    fail(`its methods must be 0, 0 and 0 or 1, got ${compression}, ${filter} and ${interlace}`);
  requireSize(width, height, fail);
  const [, kind, channels] = found;
  return { width, height, depth: depth!, kind, channels, isInterlaced: interlace === 1 };
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array, from: number, to: number): number {
  let c = 0xffffffff;
  for (let i = from; i < to; i++) c = crcTable[(c ^ bytes[i]!) & 0xff]! ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}
