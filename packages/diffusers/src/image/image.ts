// Pictures of 8 bits a channel, as they are saved and shown. No resizing, no colour management, no other formats.
// PNG is written by fast-png. Floats become bytes by rounding, as Python's pipelines do.

import { ArgumentError, FormatError } from '@darkroom/core';
import { encode } from 'fast-png';
import { bytesFromFloats } from './convert.ts';
import { otherFormat } from './formats.ts';
import { decodePng } from './png/decode.ts';

/** Channels of an image: 3 RGB, 4 RGBA. */
export type Channels = 3 | 4;

/** A picture of 8 bits a channel, RGB or RGBA. */
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

  /**
   * Decodes a PNG of any kind (grey, palette, 1 to 16 bits, transparent, interlaced), upright as its EXIF data says.
   * `name` is for messages. @throws FormatError, also for pictures of other formats.
   */
  static fromPng(png: Uint8Array, name = 'image'): Image {
    const other = otherFormat(png);
    if (other) throw new FormatError(`${name}: is a ${other}; only PNG is read, give that or raw pixels`);
    const { width, height, data } = decodePng(png, name);
    return new Image(width, height, data);
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

  /** Values [channels, height, width] in [0, 1], as image-to-image reads them; without alpha for 3 channels. */
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
    const { writeFileWhole } = await import('./node/write-file.ts');
    await writeFileWhole(path, this.toPng());
  }

  /** Reads a PNG file (Node only). */
  static async load(path: string): Promise<Image> {
    const { readFile } = await import('./node/write-file.ts');
    return Image.fromPng(await readFile(path), path);
  }
}
