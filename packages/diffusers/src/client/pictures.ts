// Pictures between a page and its worker: pixels for a canvas, files, previews of latents.

import { ArgumentError, describe, keep, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import { Image } from '../image/image.ts';
import type { AnyPipeline } from '../pipelines/auto.ts';
import { UNetPipeline } from '../pipelines/unet-pipeline.ts';
import type { DrawSettings, PageImage, Pixels, PostedPicture } from './messages.ts';

/** With an opaque alpha channel where there is none. */
export function pixelsOf({ width, height, channels, data }: Image): Pixels {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < channels; c++) rgba[i * 4 + c] = data[i * channels + c]!;
  }
  return { width, height, data: rgba };
}

/** The picture with its file. */
export async function pictureOf(
  image: Image,
  { format = 'png', quality, parameters = true }: DrawSettings,
): Promise<PostedPicture> {
  const bytes = await image.encode(format, { ...(quality !== undefined && { quality }), parameters });
  const type = `image/${format === 'jpg' ? 'jpeg' : format}`;
  return {
    pixels: pixelsOf(image),
    file: new Blob([new Uint8Array(bytes)], { type }),
    parameters: image.parameters,
  };
}

/** A page's picture as an Image. `name` is for messages. */
export async function imageOf(given: PageImage, name: string): Promise<Image> {
  if (given instanceof Blob) return Image.decode(new Uint8Array(await given.arrayBuffer()), name);
  if (given instanceof ImageData) return new Image(given.width, given.height, given.data);
  if (!(given instanceof ImageBitmap))
    throw new ArgumentError(`${name}: must be a Blob, ImageData or ImageBitmap, got ${describe(given)}`);
  const { width, height } = given;
  const context = new OffscreenCanvas(width, height).getContext('2d')!;
  context.drawImage(given, 0, 0);
  given.close();
  return new Image(width, height, context.getImageData(0, 0, width, height).data);
}

/** The first picture of a batch as its latents stand; undefined for pipelines without a UNet. */
export async function previewOf(pipe: AnyPipeline, latents: Tensor): Promise<Pixels | undefined> {
  if (!(pipe instanceof UNetPipeline)) return undefined;
  const { codec } = pipe;
  const [, , h, w] = latents.shape as [number, number, number, number];
  const size = { height: h * codec.scale, width: w * codec.scale };
  const pixels = scope(() => keep(codec.decode(latents.slice(0, 0, 1), size)));
  try {
    const [, channels, height, width] = pixels.shape as [number, number, number, number];
    return pixelsOf(Image.fromPlanes((await pixels.data()) as Float32Array, channels, height, width));
  } finally {
    pixels.dispose();
  }
}
