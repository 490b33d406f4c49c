// Pictures as a device hands them over: one int32 for each pixel, its bytes by rounding. A third of the bytes of float32
// planes to read back, and no arithmetic for the host.

import { ArgumentError, map, reshape, scope } from '@darkroom/core';
import type { Expr, Tensor } from '@darkroom/core';

/** Rounds as bytesFromFloats does: halves up, values outside [0, 1] clamped. */
const byte = (channel: number): Expr => [
  'floor',
  ['add', ['mul', ['min', ['max', ['in', channel], 0], 1], 255], 0.5],
];
/** At most 2^24 - 1, which float32 holds exactly. NaN in any channel makes the sum NaN. */
const rgb: Expr = ['add', ['add', byte(0), ['mul', byte(1), 256]], ['mul', byte(2), 65536]];
/** A cast to integers makes 0 of NaN: the rest stands one above it meanwhile. */
const word: Expr = ['sub', ['cast', 'int32', ['add', rgb, 1]], 1];

/**
 * Pixels [n, 3, h, w] in [0, 1] → int32 [n, h, w]: red + 256 · green + 65536 · blue, and -1 for NaN. One channel is
 * grey. @throws ArgumentError for other numbers of channels
 */
export function packPixels(pixels: Tensor): Tensor {
  const [n, c, h, w] = pixels.shape as [number, number, number, number];
  if (c !== 1 && c !== 3) throw new ArgumentError(`image: decoded pictures have 1 or 3 channels, got ${c}`);
  return scope(() => {
    const planes = c === 1 ? [pixels, pixels, pixels] : pixels.chunk(3, 1);
    const packed = map(word, planes, { dtype: 'int32' });
    return reshape(packed, [n, h, w]);
  });
}

/** The RGB bytes of one picture's words, which packPixels made; undefined if one stands for NaN. */
export function unpackPixels(words: Int32Array): Uint8ClampedArray | undefined {
  const out = new Uint8Array(words.length * 3);
  let signs = 0;
  for (let i = 0, at = 0; i < words.length; i++, at += 3) {
    const rgb = words[i]!;
    signs |= rgb;
    out[at] = rgb & 255;
    out[at + 1] = (rgb >> 8) & 255;
    out[at + 2] = rgb >> 16;
  }
  return signs < 0 ? undefined : new Uint8ClampedArray(out.buffer);
}
