// Reference kernel: winograd, as its formula in double precision, one output at a time.

import { winogradInput as inputs, winogradOutput as outputs } from '@darkroom/core';
import type { WinogradOp } from '@darkroom/core';
import { at, forEachIndex } from './access.ts';
import type { View } from './access.ts';
import { epilogue } from './pointwise.ts';

export function winograd(op: WinogradOp, args: readonly View[]): void {
  const [x, weight] = args as [View, View];
  const out = args.at(-1)!;
  const [, channels, h, w] = x.shape as [number, number, number, number];
  const finish = epilogue(op.epilogue, args.slice(2, -1), out.shape);
  forEachIndex(out.shape, (index) => {
    const [n, o, y, xx] = index as [number, number, number, number];
    const [top, left] = [y - (y % 2) - op.padding[0], xx - (xx % 2) - op.padding[2]];
    const [rows, columns] = [outputs[y % 2]!, outputs[xx % 2]!];
    const read = (c: number, r: number, s: number): number => {
      const inside = top + r >= 0 && top + r < h && left + s >= 0 && left + s < w;
      return inside ? x.get(at(x.strides, [n, c, top + r, left + s])) : 0;
    };
    /** Position i, j of the transformed tile of channel c: B^T d B. */
    const transformed = (c: number, i: number, j: number): number => {
      let sum = 0;
      for (let r = 0; r < 4; r++)
        for (let s = 0; s < 4; s++)
          if (inputs[i]![r]! && inputs[j]![s]!) sum += inputs[i]![r]! * inputs[j]![s]! * read(c, r, s);
      return sum;
    };
    let sum = 0;
    for (let i = 0; i < 4; i++)
      for (let j = 0; j < 4; j++) {
        const sign = rows[i]! * columns[j]!;
        if (sign === 0) continue;
        for (let c = 0; c < channels; c++)
          sum += sign * transformed(c, i, j) * weight.get(at(weight.strides, [4 * i + j, c, o]));
      }
    out.set(at(out.strides, index), finish(sum, index));
  });
}
