// conv2d as an implicit product, for both memory formats: no unfolded copy of the input is ever stored. The sum runs
// tap by tap, over the channels of each, so that a pixel's address is computed once per tap.
// Contiguous: rows are output channels, columns pixels (adjacent in memory). Channels-last: rows are pixels, columns
// channels. Groups are a batch dimension.

import { elementCount } from '@darkroom/core/backend';
import type { Layout } from '@darkroom/core';
import type { ArgSpec, Conv2dOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/dispatch.ts';
import { convResult, pixelRows } from './shared/conv2d-result.ts';
import { resultStore } from './shared/epilogue.ts';
import { usesIndex } from './shared/expressions.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';
import { productBody } from './shared/product.ts';
import type { ProductBody } from './shared/product.ts';
import type { Operand } from './shared/product-loader.ts';
import { productChoices, tileOf } from './shared/tiles.ts';
import type { ProductSize, Tile } from './shared/tiles.ts';

/** The size of a convolution as a product: m × n by k, for each group. */
export function conv2dSize(op: Conv2dOp, args: readonly ArgSpec[]): ProductSize {
  const [n, o, oh, ow] = args.at(-1)!.layout.shape as [number, number, number, number];
  const [, cg, kh, kw] = args[1]!.layout.shape as [number, number, number, number];
  const [pixels, channels] = [n * oh * ow, o / op.groups];
  const [m, columns] = pixelRows(args.at(-1)!) ? [pixels, channels] : [channels, pixels];
  return { m, n: columns, k: cg * kh * kw, stacks: op.groups };
}

/** Few input channels: a tile deeper than they are would multiply zeros. */
function fittedTo(channels: number, tile: Tile): Tile {
  if (channels <= 4) return { ...tile, k: 4 };
  return channels <= 8 ? { ...tile, k: 8 } : tile;
}

/**
 * conv2d by workgroups of `tile`, whose body `body` writes: productBody, or a backend's own. `wide` as in
 * KernelFactory.
 */
// eslint-disable-next-line max-lines-per-function -- one kernel's text, read from top to bottom
export function tiledConv2d(
  op: Conv2dOp,
  args: readonly ArgSpec[],
  tile: Tile,
  traits: Traits,
  wide: boolean,
  body: ProductBody = productBody,
): KernelSpec {
  const [x, weight, out] = [args[0]!.layout, args[1]!.layout, args.at(-1)!.layout];
  if (elementCount(out.shape) === 0) return { dispatches: [] };
  const size = conv2dSize(op, args);
  const [, , h, w] = x.shape as [number, number, number, number];
  const [o, cg, kh, kw] = weight.shape as [number, number, number, number];
  const [n, , oh, ow] = out.shape as [number, number, number, number];
  const og = o / op.groups;
  const pixels = n * oh * ow;
  const last = pixelRows(args.at(-1)!);
  const exact = cg % tile.k === 0;
  const [sn, sc, sh, sw] = x.strides as [number, number, number, number];
  const [wo, wc, wh, ww] = weight.strides as [number, number, number, number];
  const fours = (...s: number[]): boolean => s.every((v) => v % 4 === 0);
  const wideX = wide && last && sc === 1 && cg % 4 === 0 && fours(sn, sh, sw);
  // Weights in quads along what is adjacent: their channels for rows, the outputs for columns.
  const wideRows = wide && !last && wc === 1 && cg % 4 === 0 && fours(wo, wh, ww);
  const wideColumns = wide && last && wo === 1 && og % 4 === 0 && fours(wc, wh, ww);
  const wideW = wideRows || wideColumns;

  const s = new Shader(traits, `conv2d/${last ? 'nhwc' : 'nchw'} ${tile.id}`, args);
  const [read, weights] = [s.read(0, wideX ? 4 : 1), s.read(1, wideW ? 4 : 1)];
  const [C, OG, PIXELS] = [s.u32('c', cg), s.u32('og', og), s.u32('pixels', pixels)];
  const [H, W, OH, OW] = [s.i32('h', h), s.i32('w', w), s.u32('oh', oh), s.u32('ow', ow)];
  // In quads, what is adjacent has no stride of its own.
  type Four = [string, string, string, string];
  const strides = (name: string, of: Layout, quads: boolean): Four =>
    of.strides.map((v, d) => s.u32(`${name}_s${d}`, quads ? (v === 1 ? 0 : v / 4) : v)) as Four;
  const [SN, SC, SH, SW] = strides('x', x, wideX);
  const [WO, WC, WH, WW] = strides('w', weight, wideW);

  /** Pixel `index` of the output as image, and the input row and column of its first tap. */
  const pixel = (name: string, index: string): string => `let ${name}_p = min(${index}, ${PIXELS} - 1u);
  let ${name}_i = ${name}_p / ${OW};
  let ${name}_x = i32(${name}_p % ${OW}) * ${s.i32('stride_w', op.stride[1])} - ${s.i32('left', op.padding[2])};
  let ${name}_y = i32(${name}_i % ${OH}) * ${s.i32('stride_h', op.stride[0])} - ${s.i32('top', op.padding[0])};
  let ${name}_n = ${name}_i / ${OH} * ${SN} + x_group;
  var ${name}_at = 0u; var ${name}_in = false;`;
  const tapOf = (name: string): string => `{
    let yy = ${name}_y + tap_y; let xx = ${name}_x + tap_x;
    ${name}_in = yy >= 0 && yy < ${H} && xx >= 0 && xx < ${W};
    ${name}_at = ${name}_n + u32(max(yy, 0)) * ${SH} + u32(max(xx, 0)) * ${SW};
  }`;
  const inside = (at: string, i: number): string => (exact ? 'true' : `${at} + ${i}u < ${C}`);

  // x in quads along its channels: rows are pixels.
  const xRows: Operand = {
    along: sc <= sw ? 'k' : 'other',
    cheap: false,
    setup: pixel,
    tap: tapOf,
    load: (slot, at) => {
      if (wideX) return read.getIf(`${slot}_at + ${at} / 4u`, `${slot}_in && ${inside(at, 0)}`);
      const lane = (i: number): string =>
        read.getIf(`${slot}_at + (${at} + ${i}u) * ${SC}`, `${slot}_in && ${inside(at, i)}`);
      return `vec4<f32>(${[0, 1, 2, 3].map(lane).join(', ')})`;
    },
  };
  // x in quads along pixels: columns are pixels.
  const lanes = [0, 1, 2, 3];
  const xColumns: Operand = {
    along: sw <= sc ? 'other' : 'k',
    cheap: false,
    setup: (slot, col) => lanes.map((i) => pixel(`${slot}_${i}`, `${col} + ${i}u`)).join('\n  '),
    tap: (slot) => lanes.map((i) => tapOf(`${slot}_${i}`)).join('\n  '),
    load: (slot, at) =>
      `vec4<f32>(${lanes.map((i) => read.getIf(`${slot}_${i}_at + ${at} * ${SC}`, `${slot}_${i}_in && ${inside(at, 0)}`)).join(', ')})`,
  };
  const wRows: Operand = {
    along: wc <= wo ? 'k' : 'other',
    cheap: true,
    setup: (slot, row) => `let ${slot} = w_group + min(${row}, ${OG} - 1u) * ${WO};`,
    load: (slot, at) => {
      if (wideRows) return weights.getIf(`${slot} + w_tap + ${at} / 4u`, inside(at, 0));
      const lane = (i: number): string =>
        weights.getIf(`${slot} + w_tap + (${at} + ${i}u) * ${WC}`, inside(at, i));
      return `vec4<f32>(${lanes.map(lane).join(', ')})`;
    },
  };
  const wColumns: Operand = {
    along: wc < wo ? 'k' : 'other',
    cheap: true,
    setup: (slot, col) =>
      wideColumns
        ? `let ${slot} = w_group + min(${col}, ${OG} - 1u) / 4u;`
        : `let ${slot} = w_group + min(vec4<u32>(${col}) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(${OG} - 1u)) * ${WO};`,
    load: (slot, at) =>
      wideColumns
        ? weights.getIf(`${slot} + w_tap + ${at} * ${WC}`, inside(at, 0))
        : `vec4<f32>(${lanes.map((i) => weights.getIf(`${slot}[${i}] + w_tap + ${at} * ${WC}`, inside(at, 0))).join(', ')})`,
  };

  const store = resultStore(s, args, convResult(s, op, args, wide));
  const tilesM = Math.ceil(size.m / tile.m);
  const tilesN = Math.ceil(size.n / tile.n);
  const taps = s.u32('taps', kh * kw);
  const text = `let tile_row = group % ${s.u32('tiles_m', tilesM)};
  let tile_col = group / ${s.u32('tiles_m', tilesM)} % ${s.u32('tiles_n', tilesN)};
  let conv_group = group / ${s.u32('tiles', tilesM * tilesN)};
  let x_group = conv_group * ${C} * ${s.u32('x_c', sc)}${wideX ? ' / 4u' : ''};
  let w_group = conv_group * ${OG}${wideColumns ? ' / 4u' : ` * ${WO}`};
  ${body(s, {
    tile,
    m: last ? PIXELS : OG,
    n: last ? OG : PIXELS,
    k: C,
    a: last ? xRows : wRows,
    b: last ? wColumns : xColumns,
    taps: `for (var tap = 0u; tap < ${taps}; tap++) {
  let tap_r = tap / ${s.u32('kw', kw)}; let tap_s = tap % ${s.u32('kw', kw)};
  let tap_y = i32(tap_r) * ${s.i32('dilation_h', op.dilation[0])}; let tap_x = i32(tap_s) * ${s.i32('dilation_w', op.dilation[1])};
  let w_tap = tap_r * ${WH} + tap_s * ${WW};`,
    store,
  })}`;
  return { dispatches: [s.dispatch(tile.rows * tile.columns, tilesM * tilesN * op.groups, text)] };
}

/** conv2d on vector units. */
export const conv2d: KernelFactory<Conv2dOp> = {
  choices(op, args, traits) {
    if (args.length > traits.bindings || (op.epilogue && usesIndex(op.epilogue))) return [];
    return productChoices(conv2dSize(op, args), traits);
  },
  prepare(op, args, choice, traits, wide) {
    const tile = fittedTo(args[1]!.layout.shape[1]!, tileOf(choice));
    return tiledConv2d(op, args, tile, traits, wide);
  },
};
