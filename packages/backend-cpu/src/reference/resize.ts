// Reference kernel: resize, nearest and bilinear.

import type { ResizeOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function resize(op: ResizeOp, args: readonly View[]): void {
  const [x, out] = args as [View, View];
  const [, , h, w] = x.shape as [number, number, number, number];
  const [oh, ow] = op.size;
  const pick = (ni: number, ci: number, y: number, xx: number): number =>
    x.get(at(x.strides, [ni, ci, Math.max(0, Math.min(h - 1, y)), Math.max(0, Math.min(w - 1, xx))]));
  forEachIndex(out.shape, (index) => {
    const [ni, ci, yi, xi] = index as [number, number, number, number];
    let value: number;
    if (op.mode === 'nearest') {
      value = pick(ni, ci, nearestSource(yi, h, oh), nearestSource(xi, w, ow));
    } else {
      const [y, xx] = [centre(yi, h, oh), centre(xi, w, ow)];
      const [y0, x0] = [Math.floor(y), Math.floor(xx)];
      const [fy, fx] = [y - y0, xx - x0];
      const top = pick(ni, ci, y0, x0) * (1 - fx) + pick(ni, ci, y0, x0 + 1) * fx;
      const bottom = pick(ni, ci, y0 + 1, x0) * (1 - fx) + pick(ni, ci, y0 + 1, x0 + 1) * fx;
      value = top * (1 - fy) + bottom * fy;
    }
    out.set(at(out.strides, index), value);
  });
}

/** floor(i · in/out) with the ratio and the product rounded to float32, as torch does. */
export function nearestSource(i: number, size: number, out: number): number {
  return Math.min(size - 1, Math.floor(Math.fround(i * Math.fround(size / out))));
}

const centre = (i: number, size: number, out: number): number => Math.max(0, ((i + 0.5) * size) / out - 0.5);
