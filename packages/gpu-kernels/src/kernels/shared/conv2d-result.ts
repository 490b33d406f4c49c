// Addresses of a convolution's results, for products whose rows are pixels (channels-last) or whose columns are.

import type { ArgSpec, Conv2dOp } from '@darkroom/core/backend';
import { isChannelsLast, isContiguous } from '@darkroom/core/backend';
import type { Shader } from '../../text/shader.ts';
import { broadcastStrides, collapse } from './dimensions.ts';
import type { ResultPlace } from './epilogue.ts';

/** True if rows of the product are pixels: the output's channels are adjacent. */
export function pixelRows(out: ArgSpec): boolean {
  return !isContiguous(out.layout) && isChannelsLast(out.layout);
}

/** The result's place for resultStore. The kernel's text must declare `conv_group`. */
export function convResult(s: Shader, op: Conv2dOp, args: readonly ArgSpec[], wide: boolean): ResultPlace {
  const { shape, strides } = args.at(-1)!.layout;
  const [n, o, oh, ow] = shape as [number, number, number, number];
  const og = o / op.groups;
  const [OG, OH, OW] = [s.u32('og', og), s.u32('oh', oh), s.u32('ow', ow)];
  const every = [...args.slice(2, -1).map((extra) => broadcastStrides(extra.layout, shape)), strides];
  const channel = (index: string): string => `conv_group * ${OG} + ${index}`;
  /** These coordinates as one, where every tensor's strides let them. */
  const merged = (dims: readonly number[]): readonly number[] | undefined => {
    const one = collapse(dims.map((d) => shape[d]!), every.map((x) => dims.map((d) => x[d]!))); // prettier-ignore
    return one.shape.length === 1 ? one.strides.map((x) => x[0]!) : undefined;
  };
  if (pixelRows(args.at(-1)!)) {
    const pixel = merged([0, 2, 3]);
    return {
      expr: op.epilogue,
      wide,
      axis: 1,
      run: og,
      strides: pixel ? every.map((x, a) => [pixel[a]!, x[1]!]) : every,
      coordinate: (col) => `(${channel(col)})`,
      rest: (col) => `${OG} - ${col}`,
      others: (row) =>
        pixel
          ? `let o0 = ${row};`
          : `let o0 = ${row} / ${OW} / ${OH}; let o2 = ${row} / ${OW} % ${OH}; let o3 = ${row} % ${OW};`,
    };
  }
  const pixel = merged([2, 3]);
  const run = pixel ? oh * ow : ow;
  const RUN = s.u32('run', run);
  return {
    expr: op.epilogue,
    wide,
    axis: pixel ? 2 : 3,
    run,
    strides: pixel ? every.map((x, a) => [x[0]!, x[1]!, pixel[a]!]) : every,
    coordinate: (col) => `${col} % ${RUN}`,
    rest: (col) => `${s.u32('pixels', n * oh * ow)} - ${col}`,
    others: (row, col) =>
      pixel
        ? `let o1 = ${channel(row)}; let o0 = ${col} / ${RUN};`
        : `let o1 = ${channel(row)}; let o0 = ${col} / ${OW} / ${OH}; let o2 = ${col} / ${OW} % ${OH};`,
  };
}
