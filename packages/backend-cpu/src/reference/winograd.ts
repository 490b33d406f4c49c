// Reference kernel: winograd, as its formula in double precision, tile by tile.

import {
  elementCount,
  winogradInput as inputs,
  winogradOutput as outputs,
  winogradTiles,
} from '@darkroom/core/backend';
import type { WinogradOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';
import { epilogue } from './shared/epilogue.ts';

export function winograd(op: WinogradOp, args: readonly View[]): void {
  const [x, weight] = args as [View, View];
  const out = args.at(-1)!;
  const [, channels, h, w] = x.shape as [number, number, number, number];
  const [, outChannels, oh, ow] = out.shape as [number, number, number, number];
  if (elementCount(out.shape) === 0) return;
  const finish = epilogue(op.epilogue, args.slice(2, -1), out.shape);
  const [sn, sc, sh, sw] = x.strides as [number, number, number, number];
  const [wp, wc, wo] = weight.strides as [number, number, number];
  const d = new Float64Array(16);
  const v = new Float64Array(16 * channels); // B^T d B of each channel, by position
  const m = new Float64Array(16);
  forEachIndex(winogradTiles(out.shape), ([n, ty, tx]) => {
    const [top, left] = [2 * ty! - op.padding[0], 2 * tx! - op.padding[2]];
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < 16; i++) {
        const [r, s] = [top + (i >> 2), left + (i & 3)];
        d[i] = r >= 0 && r < h && s >= 0 && s < w ? x.get(n! * sn + c * sc + r * sh + s * sw) : 0;
      }
      for (let p = 0; p < 16; p++) v[p * channels + c] = bothSides(inputs, p >> 2, p & 3, d);
    }
    for (let o = 0; o < outChannels; o++) {
      for (let p = 0; p < 16; p++) {
        let sum = 0;
        for (let c = 0; c < channels; c++) sum += v[p * channels + c]! * weight.get(p * wp + c * wc + o * wo);
        m[p] = sum;
      }
      for (let y = 2 * ty!; y < Math.min(oh, 2 * ty! + 2); y++)
        for (let xx = 2 * tx!; xx < Math.min(ow, 2 * tx! + 2); xx++) {
          const index = [n!, o, y, xx];
          out.set(at(out.strides, index), finish(bothSides(outputs, y & 1, xx & 1, m), index));
        }
    }
  });
}

/** Element i, j of the matrix, the 4x4 values and the matrix transposed, multiplied. */
function bothSides(
  matrix: readonly (readonly number[])[],
  i: number,
  j: number,
  values: Float64Array,
): number {
  let sum = 0;
  for (let r = 0; r < 4; r++)
    for (let s = 0; s < 4; s++) sum += matrix[i]![r]! * matrix[j]![s]! * values[4 * r + s]!;
  return sum;
}
