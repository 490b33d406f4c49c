// Pictures of 8 bits a channel, as they are saved and shown. No resizing, no colour management, no other formats.
// PNG through fast-png. Floats become bytes by rounding, as Python's pipelines do.

import { ArgumentError, FormatError } from '@darkroom/core';
import { convertIndexedToRgb, decode, encode } from 'fast-png';
import { bytesFromFloats } from './convert.ts';

export type Channels = 3 | 4;

export class Image {
  readonly width: number;
  readonly height: number;
  /** 3: RGB, 4: RGB and (unassociated) alpha. */
  readonly channels: Channels;
  /** Rows from the top, pixels from the left, channels together. */
  readonly data: Uint8ClampedArray;

  constructor(width: number, height: number, data: Uint8ClampedArray) {
    for (const [name, size] of [
      ['width', width],
      ['height', height],
    ] as const) {
      if (!Number.isInteger(size) || size < 1)
        throw new ArgumentError(`image: ${name} must be an integer >= 1, got ${size}`);
    }
    const channels = data.length / (width * height);
    if (channels !== 3 && channels !== 4) {
      throw new ArgumentError(
        `image: ${width}x${height} takes ${width * height * 3} (RGB) or ${width * height * 4} (RGBA) bytes, got ${data.length}`,
      );
    }
    this.width = width;
    this.height = height;
    this.channels = channels;
    this.data = data;
  }

  /** values [channels, height, width] in [0, 1]; 1 channel becomes grey RGB. NaN is an error, the rest is clamped. */
  static fromPlanes(values: ArrayLike<number>, channels: number, height: number, width: number): Image {
    return new Image(
      width,
      height,
      bytesFromFloats(values, { channels, height, width, layout: 'planes', range: [0, 1] }),
    );
  }

  /** values [height, width, channels] in [0, 1]. */
  static fromPixels(values: ArrayLike<number>, height: number, width: number, channels: number): Image {
    return new Image(
      width,
      height,
      bytesFromFloats(values, { channels, height, width, layout: 'pixels', range: [0, 1] }),
    );
  }

  /** Decodes a PNG of any kind: grey, palette, 16 bits (halved to 8). `name` is for messages. */
  static fromPng(png: Uint8Array, name = 'image'): Image {
    let decoded: ReturnType<typeof decode>;
    try {
      decoded = decode(png, { checkCrc: true });
    } catch (error) {
      throw new FormatError(`${name}: not a readable PNG: ${(error as Error).message}`);
    }
    const { width, height, depth } = decoded;
    if (decoded.palette) {
      const rgb = convertIndexedToRgb(decoded);
      return new Image(width, height, new Uint8ClampedArray(rgb));
    }
    const scale = 255 / (2 ** depth - 1);
    const source = depth < 8 ? unpackBits(decoded.data as Uint8Array, width, height, depth) : decoded.data;
    const grey = decoded.channels < 3;
    const alpha = decoded.channels % 2 === 0;
    const from = decoded.channels;
    const to = alpha ? 4 : 3;
    const out = new Uint8ClampedArray(width * height * to);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) out[i * to + c] = source[i * from + (grey ? 0 : c)]! * scale;
      if (alpha) out[i * to + 3] = source[i * from + from - 1]! * scale;
    }
    return new Image(width, height, out);
  }

  /** An encoded PNG with as many channels as the image. */
  toPng(): Uint8Array {
    return encode({
      width: this.width,
      height: this.height,
      data: this.data,
      channels: this.channels,
      depth: 8,
    });
  }

  /** [channels, height, width] in [0, 1]: what image-to-image takes. Alpha is left out unless asked for. */
  toPlanes(channels: Channels = 3): Float32Array {
    if (channels > this.channels)
      throw new ArgumentError(`image: has ${this.channels} channels, asked for ${channels}`);
    const pixels = this.width * this.height;
    const out = new Float32Array(pixels * channels);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < pixels; i++) out[c * pixels + i] = this.data[i * this.channels + c]! / 255;
    }
    return out;
  }

  /** Writes a PNG file, whole or not at all (Node only; a browser makes a Blob of toPng()). */
  async save(path: string): Promise<void> {
    const { writeFileAtomically } = await import('./node/write-file.ts');
    await writeFileAtomically(path, this.toPng());
  }

  /** Reads a PNG file (Node only). */
  static async load(path: string): Promise<Image> {
    const { readFile } = await import('./node/write-file.ts');
    return Image.fromPng(await readFile(path), path);
  }
}

/** Samples of 1, 2 or 4 bits, packed from the high bit with each row starting a byte → one sample an element. */
function unpackBits(packed: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const stride = Math.ceil((width * depth) / 8);
  if (packed.length === width * height && stride !== width) return packed;
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = packed[y * stride + (bit >> 3)]!;
      out[y * width + x] = (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
    }
  }
  return out;
}
