// Pictures to bytes and back, in each format; the codecs of JPEG and WebP are loaded when they are asked for.

import { ArgumentError, checkOptions, describe, FormatError } from '@darkroom/core';
import { encode } from 'fast-png';
import type { PictureParameters } from '../parameters/parameters.ts';
import { parametersText, parseParameters } from '../parameters/text.ts';
import { otherFormat } from './formats.ts';
import type { PictureFormat } from './formats.ts';
import type { Pixels } from './pixels.ts';
import { insertChunk } from './png/chunks.ts';
import { decodePng } from './png/decode.ts';
import { textChunk } from './png/text.ts';

/** How a picture is encoded. */
export interface EncodeOptions {
  /** JPEG and WebP: from 1 (small) to 100 (like the picture); default 90. */
  readonly quality?: number;
  /** True (default): how it was drawn is written too, where that is known. False: pixels alone. A record: this. */
  readonly parameters?: boolean | PictureParameters;
}

/** How a picture is saved. */
export interface SaveOptions extends EncodeOptions {
  /** Default: by the ending of the path. */
  readonly format?: PictureFormat | 'jpg';
}

const defaultQuality = 90;
const encodeNames = { quality: true, parameters: true } as const;

/** @throws ArgumentError for options that do not go with the format */
export function checkEncode(name: string, format: PictureFormat, options: EncodeOptions): void {
  checkOptions(name, options, name === 'save' ? { ...encodeNames, format: true } : encodeNames);
  const { quality, parameters } = options;
  const isRecord =
    typeof parameters === 'object' && typeof (parameters as typeof parameters | null)?.prompt === 'string';
  if (parameters !== undefined && typeof parameters !== 'boolean' && !isRecord)
    throw new ArgumentError(
      `parameters: must be true, false or a record with a prompt, got ${describe(parameters)}`,
    );
  if (quality === undefined) return;
  if (format === 'png') throw new ArgumentError('quality: PNG loses nothing and has none; leave it out');
  if (!Number.isInteger(quality) || quality < 1 || quality > 100)
    throw new ArgumentError(`quality: must be an integer from 1 to 100, got ${String(quality)}`);
}

/** The encoded picture; `known` is how it was drawn. @throws ArgumentError */
export async function encodePixels(
  pixels: Pixels,
  format: PictureFormat,
  { quality = defaultQuality, parameters = true }: EncodeOptions,
  known: PictureParameters | undefined,
): Promise<Uint8Array> {
  const written = parameters === true ? known : parameters === false ? undefined : parameters;
  const text = written && parametersText(written);
  switch (format) {
    case 'png': {
      const png = encodePng(pixels);
      return text === undefined ? png : insertChunk(png, textChunk('parameters', text));
    }
    case 'jpeg':
      return (await import('./codecs/jpeg.ts')).encodeJpeg(overWhite(pixels), quality, text);
    case 'webp':
      return (await import('./codecs/webp.ts')).encodeWebp(pixels, quality, text);
  }
}

/** Pixels as a PNG, with as many channels. */
export function encodePng({ width, height, channels, data }: Pixels): Uint8Array {
  return encode({ width, height, data, channels, depth: 8 });
}

/** A decoded picture, and how it was drawn where the file tells. */
export interface DecodedPicture {
  readonly pixels: Pixels;
  readonly parameters: PictureParameters | undefined;
}

const parametersOf = (comment: string | undefined): PictureParameters | undefined =>
  comment === undefined ? undefined : parseParameters(comment);

/** A PNG of any kind. @throws FormatError, also for pictures of other formats */
export function decodePngFile(file: Uint8Array, name: string): DecodedPicture {
  const other = otherFormat(file);
  if (other)
    throw new FormatError(`${name}: is a ${other}; fromPng reads PNG, Image.decode JPEG and WebP too`);
  const { pixels, comment } = decodePng(file, name);
  return { pixels, parameters: parametersOf(comment) };
}

/** A PNG, JPEG or WebP, by how it starts. @throws FormatError */
export async function decodePicture(file: Uint8Array, name: string): Promise<DecodedPicture> {
  const format = otherFormat(file);
  if (format !== undefined && format !== 'JPEG' && format !== 'WebP')
    throw new FormatError(`${name}: is a ${format}; only PNG, JPEG and WebP are read`);
  if (format === undefined) return decodePngFile(file, name);
  const { pixels, comment } =
    format === 'JPEG'
      ? await (await import('./codecs/jpeg.ts')).decodeJpeg(file, name)
      : await (await import('./codecs/webp.ts')).decodeWebp(file, name);
  return { pixels, parameters: parametersOf(comment) };
}

/** RGB over white: transparent pixels become white instead of showing their hidden colour. */
export function overWhite(pixels: Pixels): Pixels {
  return blended(pixels, (colour, alpha) => 255 + ((colour - 255) * alpha) / 255);
}

/** RGB of pixels, each colour blended with its alpha. */
export function blended(pixels: Pixels, blend: (colour: number, alpha: number) => number): Pixels {
  if (pixels.channels === 3) return pixels;
  const { width, height, data } = pixels;
  const out = new Uint8ClampedArray(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const alpha = data[i * 4 + 3]!;
    for (let c = 0; c < 3; c++) out[i * 3 + c] = blend(data[i * 4 + c]!, alpha);
  }
  return { width, height, channels: 3, data: out };
}
