// Pictures of 8 bits a channel, as they are saved and shown. No resizing, no colour management.
// Floats become bytes by rounding, as Python's pipelines do.

import { ArgumentError } from '@darkroom/core';
import type { PictureParameters } from '../parameters/parameters.ts';
import { bytesFromFloats } from './convert.ts';
import { checkEncode, decodePicture, decodePngFile, encodePixels, encodePng } from './encode.ts';
import type { DecodedPicture, EncodeOptions, SaveOptions } from './encode.ts';
import { checkFormat, formatFor } from './formats.ts';
import type { PictureFormat } from './formats.ts';

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
  /** How it was drawn: of a pipeline's picture, and of a file that tells. */
  readonly parameters: PictureParameters | undefined;

  constructor(width: number, height: number, data: Uint8ClampedArray, parameters?: PictureParameters) {
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
    this.parameters = parameters;
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
    return imageOf(decodePngFile(png, name));
  }

  /** Decodes a PNG, JPEG or WebP, by how it starts; upright. `name` is for messages. @throws FormatError */
  static async decode(file: Uint8Array, name = 'image'): Promise<Image> {
    return imageOf(await decodePicture(file, name));
  }

  /** An encoded PNG with as many channels as the image: pixels alone, without how it was drawn. */
  toPng(): Uint8Array {
    return encodePng(this);
  }

  /**
   * The encoded picture. A JPEG shows transparency as white. Works in pages too.
   * @throws ArgumentError for an unknown format or bad options
   */
  async encode(format: PictureFormat | 'jpg', options: EncodeOptions = {}): Promise<Uint8Array> {
    const checked = checkFormat('encode', format);
    checkEncode('encode', checked, options);
    return encodePixels(this, checked, options, this.parameters);
  }

  /** The same pixels with other parameters; undefined: with none. */
  withParameters(parameters: PictureParameters | undefined): Image {
    return new Image(this.width, this.height, this.data, parameters);
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

  /**
   * Writes a file, whole or not at all, in the format that its ending says (Node only; a page makes a Blob of encode()).
   * @throws ArgumentError before anything is written, for an unknown ending, a contradiction or bad options
   */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    const format = formatFor(path, options.format);
    checkEncode('save', format, options);
    const bytes = await encodePixels(this, format, options, this.parameters);
    const { writeFileWhole } = await import('./node/write-file.ts');
    await writeFileWhole(path, bytes);
  }

  /** Reads a PNG, JPEG or WebP file (Node only). */
  static async load(path: string): Promise<Image> {
    const { readFile } = await import('./node/write-file.ts');
    return Image.decode(await readFile(path), path);
  }
}

const imageOf = ({ pixels, parameters }: DecodedPicture): Image =>
  new Image(pixels.width, pixels.height, pixels.data, parameters);
