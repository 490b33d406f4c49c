// Several pictures in one: as many columns as rows, or one more.

import { Image } from '@darkroom/diffusers';

/** Pictures of one size in rows, the rest of the last row white; it tells of the first picture's parameters. */
export function grid(images: readonly Image[]): Image {
  const [first] = images;
  if (images.length <= 1) return first!;
  const { width, height, channels } = first!;
  const columns = Math.ceil(Math.sqrt(images.length));
  const rows = Math.ceil(images.length / columns);
  const row = columns * width * channels;
  const data = new Uint8ClampedArray(row * rows * height).fill(255);
  for (const [i, image] of images.entries()) {
    const start = Math.floor(i / columns) * height * row + (i % columns) * width * channels;
    for (let y = 0; y < height; y++) {
      const line = image.data.subarray(y * width * channels, (y + 1) * width * channels);
      data.set(line, start + y * row);
    }
  }
  return new Image(columns * width, rows * height, data, first!.parameters);
}
