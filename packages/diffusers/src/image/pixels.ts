// Decoded pixels, and pixels turned upright.

export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8ClampedArray;
}

/** Source pixel of an upright one: whether the axes are exchanged, and which of them then run backwards. */
const turns: Readonly<Record<number, readonly [swaps: boolean, backX: boolean, backY: boolean]>> = {
  2: [false, true, false],
  3: [false, true, true],
  4: [false, false, true],
  5: [true, false, false],
  6: [true, false, true],
  7: [true, true, true],
  8: [true, true, false],
};

/** Pixels turned as an EXIF orientation (1 to 8) says; others leave them. */
export function upright(pixels: Pixels, orientation: number): Pixels {
  const turn = turns[orientation];
  if (!turn) return pixels;
  const [swaps, backX, backY] = turn;
  const { channels } = pixels;
  const [width, height] = swaps ? [pixels.height, pixels.width] : [pixels.width, pixels.height];
  const data = new Uint8ClampedArray(pixels.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = swaps ? [y, x] : [x, y];
      const from = (backY ? pixels.height - 1 - v : v) * pixels.width + (backX ? pixels.width - 1 - u : u);
      for (let c = 0; c < channels; c++)
        data[(y * width + x) * channels + c] = pixels.data[from * channels + c]!;
    }
  }
  return { width, height, channels, data };
}
