// Floats → bytes of a picture. By rounding (0.5 of a step up), never by cutting off: 127.6 is 128.
// NaN is refused: it means a model overflowed, and a black picture would hide that.

import { ArgumentError, DarkroomError } from '@darkroom/core';

export interface FloatLayout {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** 'planes': [channels, height, width]; 'pixels': [height, width, channels]. */
  readonly layout: 'planes' | 'pixels';
  /** The values that become 0 and 255. */
  readonly range: readonly [low: number, high: number];
}

/** RGB or RGBA bytes, pixel by pixel; 1 channel becomes grey RGB. Values outside the range are clamped. */
export function bytesFromFloats(
  values: ArrayLike<number>,
  { channels, height, width, layout, range }: FloatLayout,
): Uint8ClampedArray {
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new ArgumentError(`image: channels must be 1, 3 or 4, got ${channels}`);
  }
  const pixels = height * width;
  if (values.length !== pixels * channels) {
    throw new ArgumentError(
      `image: ${channels}x${height}x${width} takes ${pixels * channels} values, got ${values.length}`,
    );
  }
  const [low, high] = range;
  const scale = 255 / (high - low);
  const to = channels === 1 ? 3 : channels;
  const out = new Uint8ClampedArray(pixels * to);
  const [pixelStep, channelStep] = layout === 'planes' ? [1, pixels] : [channels, 1];
  let bad = 0;
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < to; c++) {
      const v = values[i * pixelStep + (channels === 1 ? 0 : c) * channelStep]!;
      if (Number.isNaN(v)) bad++;
      // Halves up, where the array itself would round them to even.
      out[i * to + c] = Math.floor((v - low) * scale + 0.5);
    }
  }
  if (bad > 0) {
    const count = channels === 1 ? bad / 3 : bad;
    throw new DarkroomError(
      `image: ${count} of ${values.length} values are NaN; the decoder or the denoising model overflowed`,
    );
  }
  return out;
}
