// Resizing pictures of 8 bits as Pillow does with its Lanczos filter: across, then down, each pass rounded to 8 bits.
// Reference: Pillow's Resample.c, whose fixed-point arithmetic is reproduced, so that a picture becomes the same tensor.

import { Image } from './image.ts';

const support = 3;
/** Weights are integers over 2^22, as for 8-bit pictures in Pillow. */
const precision = 22;

function lanczos(x: number): number {
  if (x === 0) return 1;
  if (x <= -support || x >= support) return 0;
  const a = Math.PI * x;
  return (Math.sin(a) / a) * (Math.sin(a / support) / (a / support));
}

/** The source samples that make one output sample. */
interface Window {
  readonly first: number;
  readonly weights: Int32Array;
}

function windows(from: number, to: number): Window[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1); // shrinking widens the filter, which keeps out what the result cannot show
  const reach = support * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(from, Math.trunc(centre + reach + 0.5));
    const raw = Array.from({ length: last - first }, (_w, k) =>
      lanczos((k + first - centre + 0.5) / stretch),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    const weights = raw.map((w) => {
      const fixed = (w / sum) * 2 ** precision;
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return { first, weights: Int32Array.from(weights) };
  });
}

/** One pass: `lines` lines, whose samples lie `step` apart, resampled to `to` samples. */
function pass(
  source: Uint8ClampedArray,
  lineStarts: (line: number, samples: number) => number,
  lines: number,
  step: number,
  from: number,
  to: number,
  out: Uint8ClampedArray,
): void {
  const plan = windows(from, to);
  for (let line = 0; line < lines; line++) {
    const read = lineStarts(line, from);
    const write = lineStarts(line, to);
    for (const [i, { first, weights }] of plan.entries()) {
      // Sums of 8-bit samples times weights of 22 bits stay far below 2^53.
      let sum = 2 ** (precision - 1);
      for (let k = 0; k < weights.length; k++) sum += source[read + (first + k) * step]! * weights[k]!;
      out[write + i * step] = Math.floor(sum / 2 ** precision); // clamped by the array
    }
  }
}

/** The picture at another size; the same object when nothing changes. */
export function resizeImage(image: Image, width: number, height: number): Image {
  const { channels: c } = image;
  let { data } = image;
  if (width !== image.width) {
    const out = new Uint8ClampedArray(width * image.height * c);
    const starts = (line: number, samples: number): number => Math.floor(line / c) * samples * c + (line % c);
    pass(data, starts, image.height * c, c, image.width, width, out);
    data = out;
  }
  if (height !== image.height) {
    const out = new Uint8ClampedArray(width * height * c);
    pass(data, (line) => line, width * c, width * c, image.height, height, out);
    data = out;
  }
  return data === image.data ? image : new Image(width, height, data);
}
