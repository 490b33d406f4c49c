// Converts the pictures and masks of a call to planes of floats of one size, on the host.
// Reference: diffusers' VaeImageProcessor. Pictures are resized by Lanczos, tensors by nearest.

import { ArgumentError, formatShape, Tensor } from '@darkroom/core';
import { blended, overWhite as overWhitePixels } from './encode.ts';
import { Image } from './image.ts';
import type { Pixels } from './pixels.ts';
import { resizeImage } from './resample.ts';

/** A picture, several of one size, or a tensor [n, channels, h, w] of values from 0 to 1. */
export type ImageInput = Image | readonly Image[] | Tensor;

export interface InputSize {
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

export interface Planes {
  /** [count, channels, height, width] */
  readonly values: Float32Array;
  readonly shape: readonly [number, number, number, number];
}

/** Size of an input; `name` is for messages. Pictures count as having 3 channels: transparency shows white. */
export function sizeOfInput(name: string, input: ImageInput | undefined): InputSize {
  if (input === undefined)
    throw new ArgumentError(`${name}: is missing; give an Image, several, or a tensor`);
  if (input instanceof Tensor) {
    if (input.rank !== 4 || input.shape.some((d) => d === 0))
      throw new ArgumentError(
        `${name}: a tensor must be [n, channels, h, w], got ${formatShape(input.shape)}`,
      );
    const [count, channels, height, width] = input.shape as [number, number, number, number];
    return { count, channels, height, width };
  }
  const images = listOf(input);
  const bad = images.findIndex((image) => !(image instanceof Image));
  if (images.length === 0 || bad >= 0)
    throw new ArgumentError(`${name}: must be an Image, a list of at least one Image, or a tensor`);
  const { width, height } = images[0]!;
  return { count: images.length, channels: 3, height, width };
}

const listOf = (input: Image | readonly Image[]): readonly Image[] =>
  Array.isArray(input) ? (input as readonly Image[]) : [input as Image];

/** Colours in [-1, 1], as the VAE's encoder takes them. */
export async function preprocessImage(
  name: string,
  input: ImageInput,
  size: { readonly height: number; readonly width: number },
): Promise<Planes> {
  const { values, shape } = await read(name, input, size, overWhite, (image) => image.toPlanes(3));
  return { values: values.map((v) => 2 * v - 1), shape };
}

/** 1 where to paint (a value of at least a half), 0 where to keep; one channel. */
export async function preprocessMask(
  name: string,
  input: ImageInput,
  size: { readonly height: number; readonly width: number },
): Promise<Planes> {
  const { channels } = sizeOfInput(name, input);
  if (input instanceof Tensor && channels !== 1)
    throw new ArgumentError(
      `${name}: a tensor must have 1 channel, got ${channels} in ${formatShape(input.shape)}`,
    );
  const { values, shape } = await read(name, input, size, withoutAlpha, greyPlane);
  return { values: values.map((v) => (v >= 0.5 ? 1 : 0)), shape };
}

async function read(
  name: string,
  input: ImageInput,
  { height, width }: { readonly height: number; readonly width: number },
  opaque: (image: Image) => Image,
  planesOf: (image: Image) => Float32Array,
): Promise<Planes> {
  if (input instanceof Tensor) {
    const size = sizeOfInput(name, input);
    const values = Float32Array.from(await input.data());
    const bad = values.findIndex((v) => !(v >= 0 && v <= 1));
    if (bad >= 0)
      throw new ArgumentError(
        `${name}: values of a tensor must be from 0 to 1, value ${bad} is ${values[bad]}`,
      );
    return {
      values: nearest(values, size, height, width),
      shape: [size.count, size.channels, height, width],
    };
  }
  const planes = listOf(input).map((image) => planesOf(resizeImage(opaque(image), width, height)));
  const each = planes[0]!.length;
  const values = new Float32Array(each * planes.length);
  for (const [i, plane] of planes.entries()) values.set(plane, i * each);
  return { values, shape: [planes.length, each / (height * width), height, width] };
}

/** torch's nearest: the sample at floor(i · from / to), the ratio in float32. */
function nearest(values: Float32Array, size: InputSize, height: number, width: number): Float32Array {
  if (height === size.height && width === size.width) return values;
  const at = (i: number, from: number, to: number): number =>
    Math.min(from - 1, Math.floor(Math.fround(i * Math.fround(from / to))));
  const planes = size.count * size.channels;
  const out = new Float32Array(planes * height * width);
  let o = 0;
  for (let p = 0; p < planes; p++) {
    for (let y = 0; y < height; y++) {
      const row = (p * size.height + at(y, size.height, height)) * size.width;
      for (let x = 0; x < width; x++) out[o++] = values[row + at(x, size.width, width)]!;
    }
  }
  return out;
}

/** RGB over white: transparent pixels become white instead of showing their hidden colour. */
const overWhite = (image: Image): Image => asImage(overWhitePixels(image));

/** RGB as Pillow's conversion gives it: alpha is dropped. */
const withoutAlpha = (image: Image): Image => asImage(blended(image, (colour) => colour));

const asImage = ({ width, height, data }: Pixels): Image => new Image(width, height, data);

/** `[1, height, width]`: luma (ITU-R 601-2) rounded to 8 bits as Pillow does, over 255. */
function greyPlane({ data, width, height }: Image): Float32Array {
  return Float32Array.from({ length: width * height }, (_, i) => {
    const luma = 19595 * data[i * 3]! + 38470 * data[i * 3 + 1]! + 7471 * data[i * 3 + 2]! + 0x8000;
    return Math.floor(luma / 65536) / 255;
  });
}
