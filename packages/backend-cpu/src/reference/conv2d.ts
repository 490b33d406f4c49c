// Reference kernel: conv2d, the textbook sum in double precision.

import type { Conv2dOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';
import { epilogue } from './shared/epilogue.ts';

export function conv2d(op: Conv2dOp, args: readonly View[]): void {
  const [x, weight] = args as [View, View];
  const out = args.at(-1)!;
  const [, , h, w] = x.shape as [number, number, number, number];
  const [o, cg, kh, kw] = weight.shape as [number, number, number, number];
  const perGroup = o / op.groups;
  const [sn, sc, sh, sw] = x.strides as [number, number, number, number];
  const [wo, wc, wh, ww] = weight.strides as [number, number, number, number];
  const finish = epilogue(op.epilogue, args.slice(2, -1), out.shape);
  forEachIndex(out.shape, (index) => {
    const [ni, oi, yi, xi] = index as [number, number, number, number];
    const c0 = Math.floor(oi / perGroup) * cg;
    let sum = 0;
    for (let r = 0; r < kh; r++) {
      const y = yi * op.stride[0] - op.padding[0] + r * op.dilation[0];
      if (y < 0 || y >= h) continue;
      for (let s = 0; s < kw; s++) {
        const xx = xi * op.stride[1] - op.padding[2] + s * op.dilation[1];
        if (xx < 0 || xx >= w) continue;
        for (let c = 0; c < cg; c++) {
          sum +=
            x.get(ni * sn + (c0 + c) * sc + y * sh + xx * sw) *
            weight.get(oi * wo + c * wc + r * wh + s * ww);
        }
      }
    }
    out.set(at(out.strides, index), finish(sum, index));
  });
}
