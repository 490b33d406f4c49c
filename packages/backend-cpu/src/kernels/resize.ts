// resize, nearest: moves raw bits in plain loops over typed arrays. Bilinear runs on the reference kernel.

import type { ArgSpec, ResizeOp } from '@darkroom/core/backend';
import { nearestSource } from '../reference/resize.ts';
import type { Factory } from './kernel.ts';
import { bits } from './shared/bits.ts';

export const resizeFactory: Factory<ResizeOp> = {
  choices: (op) => (op.mode === 'nearest' ? ['bits'] : []),
  prepare(engine, _, args) {
    const [x, y] = args as [ArgSpec, ArgSpec];
    const [n, c, h, w] = x.layout.shape as [number, number, number, number];
    const [, , oh, ow] = y.layout.shape as [number, number, number, number];
    const [sn, sc, sh, sw] = x.layout.strides as [number, number, number, number];
    const [dn, dc, dh, dw] = y.layout.strides as [number, number, number, number];
    const rows = Int32Array.from({ length: oh }, (_, i) => nearestSource(i, h, oh) * sh);
    const columns = Int32Array.from({ length: ow }, (_, i) => nearestSource(i, w, ow) * sw);
    // The innermost loop runs over what is contiguous in the output.
    const last = dc === 1 && c > 1;
    return ([px, py]) => {
      const [from, to] = [bits(engine, x.dtype, px!), bits(engine, y.dtype, py!)];
      for (let ni = 0; ni < n; ni++) {
        for (let outer = 0; outer < (last ? 1 : c); outer++) {
          for (let yi = 0; yi < oh; yi++) {
            const source = ni * sn + outer * sc + rows[yi]!;
            const target = ni * dn + outer * dc + yi * dh;
            for (let xi = 0; xi < ow; xi++) {
              const s = source + columns[xi]!;
              const d = target + xi * dw;
              if (last) for (let ci = 0; ci < c; ci++) to[d + ci] = from[s + ci * sc]!;
              else to[d] = from[s]!;
            }
          }
        }
      }
    };
  },
};
