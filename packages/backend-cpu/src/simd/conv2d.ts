// Convolution prepared as a product: the input is copied once into zero-padded float32 planes (unless it is in that
// form), and tables hold the offset of each k and each pixel. 1x1 convolutions read the input where it is.

import type { DType } from '@darkroom/core';
import type { Engine } from './engine.ts';
import { prepareMap } from './map.ts';
import type { MapOperand } from './map.ts';
import { calledAs } from './packing.ts';
import type { Packable } from './packing.ts';
import { prepareProduct } from './product.ts';
import type { ProductRun } from './product.ts';
import type { Tile } from './micro.ts';

/** Strides in elements; y is float32. padding: [top, bottom, left, right]. */
export interface ConvSpec {
  readonly x: {
    readonly dtype: DType;
    readonly shape: readonly [number, number, number, number];
    readonly strides: readonly number[];
  };
  readonly weight: {
    readonly dtype: DType;
    readonly shape: readonly [number, number, number, number];
    readonly strides: readonly number[];
  };
  readonly y: {
    readonly shape: readonly [number, number, number, number];
    readonly strides: readonly number[];
  };
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number, number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
}

export type ConvRun = (x: number, weight: number, y: number) => void;

interface Dim {
  readonly size: number;
  /** Stride in the weight and in the padded input. */
  readonly weight: number;
  readonly input: number;
}

/**
 * The order of (c, r, s) in which the weight's elements are one run with a constant stride; undefined if there is none.
 */
function weightOrder(dims: readonly Dim[]): { order: readonly Dim[]; step: number } | undefined {
  const order = dims.toSorted((a, b) => b.weight - a.weight || b.size - a.size);
  const real = order.filter((d) => d.size > 1);
  const step = real.at(-1)?.weight ?? 1;
  let expected = step;
  for (const d of real.toReversed()) {
    if (d.weight !== expected) return undefined;
    expected *= d.size;
  }
  return { order: real, step };
}

export function prepareConv(engine: Engine, s: ConvSpec, tile: Tile): Packable<ConvRun> {
  const [n, c, h, w] = s.x.shape;
  const [, cg, kh, kw] = s.weight.shape;
  const pointwise = kh === 1 && kw === 1 && s.stride.every((v) => v === 1) && s.padding.every((v) => v === 0);
  const planesThere =
    s.x.dtype === 'float32' &&
    s.padding.every((v) => v === 0) &&
    [c * h * w, h * w, w, 1].every((v, i) => s.x.strides[i] === v || s.x.shape[i] === 1);
  const pixelStride = (strides: readonly number[]): number | undefined =>
    h === 1 || w === 1 || strides[2] === strides[3]! * w ? strides[w === 1 ? 2 : 3] : undefined;
  if (pointwise && pixelStride(s.x.strides) !== undefined && pixelStride(s.y.strides) !== undefined)
    return pointwiseConv(engine, s, tile, pixelStride(s.x.strides)!, pixelStride(s.y.strides)!);

  const [top, bottom, left, right] = planesThere ? [0, 0, 0, 0] : s.padding;
  const [hp, wp] = [h + top + bottom, w + left + right];
  const dims: Dim[] = [
    { size: cg, weight: s.weight.strides[1]!, input: hp * wp },
    { size: kh, weight: s.weight.strides[2]!, input: s.dilation[0] * wp },
    { size: kw, weight: s.weight.strides[3]!, input: s.dilation[1] },
  ];
  const ordered = weightOrder(dims);
  if (!ordered) return withDenseWeight(engine, s, tile);
  const product = gatherProduct(engine, s, tile, ordered, hp, wp);
  if (planesThere) return calledAs(product, weightFirst);

  const bytes = 4 * n * c * hp * wp;
  const inside: MapOperand = { dtype: 'float32', strides: [c * hp * wp, hp * wp, wp, 1] };
  const bring = prepareMap(engine, { expr: ['in', 0], shape: s.x.shape, inputs: [s.x], output: inside })!;
  const offset = 4 * (top * wp + left);
  return calledAs(product, (run) => (x, weight, y) => {
    const planes = engine.alloc(bytes);
    if (top + bottom + left + right > 0) engine.bytes.fill(0, planes, planes + bytes);
    bring.run([x, planes + offset], []);
    run(weight, planes, y);
    engine.free(planes);
  });
}

/** A convolution on a product, whose rows are the weight's. */
const weightFirst =
  (run: ProductRun): ConvRun =>
  (x, weight, y) =>
    run(weight, x, y);

function gatherProduct(
  engine: Engine,
  s: ConvSpec,
  tile: Tile,
  { order, step }: { order: readonly Dim[]; step: number },
  hp: number,
  wp: number,
): Packable<ProductRun> {
  const [n, c] = s.x.shape;
  const [o, cg] = s.weight.shape;
  const [, , oh, ow] = s.y.shape;
  const [yn, yo, yh, yw] = s.y.strides as [number, number, number, number];
  let offsets = [0];
  for (const d of order)
    offsets = offsets.flatMap((base) => Array.from({ length: d.size }, (_, i) => base + i * d.input));
  const pixels = n * oh * ow;
  const [columns, outputs] = [new Int32Array(pixels), new Int32Array(pixels)];
  for (let p = 0, ni = 0; ni < n; ni++) {
    for (let y = 0; y < oh; y++) {
      for (let x = 0; x < ow; x++, p++) {
        columns[p] = ni * c * hp * wp + y * s.stride[0] * wp + x * s.stride[1];
        outputs[p] = ni * yn + y * yh + x * yw;
      }
    }
  }
  const perGroup = o / s.groups;
  return prepareProduct(
    engine,
    {
      m: perGroup,
      n: pixels,
      k: offsets.length,
      a: { dtype: s.weight.dtype, row: s.weight.strides[0]!, k: step },
      b: { dtype: 'float32', k: 0, column: 0 },
      c: { row: yo, column: yw },
      batches: Array.from(
        { length: s.groups },
        (_, g) => [g * perGroup * s.weight.strides[0]!, g * cg * hp * wp, g * perGroup * yo] as const,
      ),
      gather: { k: Int32Array.from(offsets), columns, outputs },
      weight: 'a',
    },
    tile,
  );
}

function pointwiseConv(
  engine: Engine,
  s: ConvSpec,
  tile: Tile,
  xPixel: number,
  yPixel: number,
): Packable<ConvRun> {
  const [n, , h, w] = s.x.shape;
  const [o, cg] = s.weight.shape;
  const perGroup = o / s.groups;
  const batches: (readonly [number, number, number])[] = [];
  for (let i = 0; i < n; i++) {
    for (let g = 0; g < s.groups; g++) {
      batches.push([
        g * perGroup * s.weight.strides[0]!,
        i * s.x.strides[0]! + g * cg * s.x.strides[1]!,
        i * s.y.strides[0]! + g * perGroup * s.y.strides[1]!,
      ]);
    }
  }
  const product = prepareProduct(
    engine,
    {
      m: perGroup,
      n: h * w,
      k: cg,
      a: { dtype: s.weight.dtype, row: s.weight.strides[0]!, k: s.weight.strides[1]! },
      b: { dtype: s.x.dtype, k: s.x.strides[1]!, column: xPixel },
      c: { row: s.y.strides[1]!, column: yPixel },
      batches,
      weight: 'a',
    },
    tile,
  );
  return calledAs(product, weightFirst);
}

/**
 * Weights whose elements have no constant stride are copied first, every run or once to pack them: rare (a sliced
 * weight).
 */
function withDenseWeight(engine: Engine, s: ConvSpec, tile: Tile): Packable<ConvRun> {
  const { shape } = s.weight;
  const strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1];
  const dense = { dtype: 'float32', shape, strides } as const;
  const bring = prepareMap(engine, { expr: ['in', 0], shape, inputs: [s.weight], output: dense })!;
  const conv = prepareConv(engine, { ...s, weight: dense }, tile);
  const onCopy = (weight: number, work: (copy: number) => void): void =>
    engine.lend(4 * shape[0] * strides[0]!, (copy) => {
      bring.run([weight, copy], []);
      work(copy);
    });
  return {
    run: (x, weight, y) => onCopy(weight, (copy) => conv.run(x, copy, y)),
    packed() {
      const packed = conv.packed?.();
      return packed && { ...packed, pack: (from, to) => onCopy(from, (copy) => packed.pack(copy, to)) };
    },
  };
}
