// Picture data → samples: scanlines are unfiltered, the seven passes of Adam7 put in place, packed bits unpacked.

import type { Fail, PngHeader } from './chunks.ts';

/** First pixel of a pass of Adam7, and the distance between its pixels. */
type Pass = readonly [x: number, y: number, dx: number, dy: number];

const adam7: readonly Pass[] = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

interface Lines {
  readonly pass: Pass;
  readonly width: number;
  readonly height: number;
  /** Bytes of a line behind its filter's number. */
  readonly stride: number;
}

function linesOf({ width, height, depth, channels, isInterlaced }: PngHeader): Lines[] {
  return (isInterlaced ? adam7 : [[0, 0, 1, 1] as const])
    .map((pass) => {
      const [x, y, dx, dy] = pass;
      const [w, h] = [Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)];
      return { pass, width: w, height: h, stride: Math.ceil((w * channels * depth) / 8) };
    })
    .filter((lines) => lines.width > 0 && lines.height > 0);
}

/** Bytes of the picture data. */
export function dataBytes(header: PngHeader): number {
  return linesOf(header).reduce((n, { height, stride }) => n + height * (1 + stride), 0);
}

/** Rows from the top, pixels from the left, samples of a pixel together. Unfilters `data` in place. */
export function samplesOf(header: PngHeader, data: Uint8Array, fail: Fail): Uint8Array | Uint16Array {
  const { width, height, depth, channels } = header;
  const out = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * channels);
  const pixelBytes = Math.max(1, (channels * depth) / 8);
  let at = 0;
  for (const lines of linesOf(header)) {
    const [x, y, dx, dy] = lines.pass;
    let above: Uint8Array = new Uint8Array(lines.stride);
    for (let row = 0; row < lines.height; row++) {
      const line = data.subarray(at + 1, at + 1 + lines.stride);
      unfilter(data[at]!, line, above, pixelBytes, fail);
      const start = ((y + row * dy) * width + x) * channels;
      if (depth === 8 && dx === 1) out.set(line, start);
      else spread(line, lines.width * channels, header, out.subarray(start), dx);
      above = line;
      at += 1 + lines.stride;
    }
  }
  return out;
}

/** The samples of a line into pixels that lie `dx` apart. */
function spread(
  line: Uint8Array,
  count: number,
  { channels, depth }: PngHeader,
  out: Uint8Array | Uint16Array,
  dx: number,
): void {
  const gap = (dx - 1) * channels;
  for (let i = 0, to = 0; i < count; i++, to++) {
    if (i > 0 && i % channels === 0) to += gap;
    out[to] = sampleAt(line, i, depth);
  }
}

/** Sample i of a line; those of less than 8 bits are packed from the high bit. */
function sampleAt(line: Uint8Array, i: number, depth: number): number {
  if (depth === 8) return line[i]!;
  if (depth === 16) return (line[2 * i]! << 8) | line[2 * i + 1]!;
  const bit = i * depth;
  return (line[bit >> 3]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

/** Adds what the filter took off: the byte to the left, above, their mean, or the one of three that fits best. */
function unfilter(filter: number, line: Uint8Array, above: Uint8Array, left: number, fail: Fail): void {
  if (filter > 4) fail(`a line has filter ${filter}, there are 0 to 4`);
  if (filter === 0) return;
  for (let i = 0; i < line.length; i++) {
    const a = i < left ? 0 : line[i - left]!;
    const b = above[i]!;
    const c = i < left ? 0 : above[i - left]!;
    const predicted = filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : paeth(a, b, c);
    line[i] = line[i]! + predicted;
  }
}

function paeth(a: number, b: number, c: number): number {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}
