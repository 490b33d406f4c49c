// Reference kernels that move or make data: copy, fill, gather, resize, random.

import { philox, ShapeError } from '@darkroom/core';
import type { CopyOp, FillOp, GatherOp, RandomOp, ResizeOp } from '@darkroom/core';
import { at, forEachIndex } from './access.ts';
import type { View } from './access.ts';

export function copy(op: CopyOp, args: readonly View[]): void {
  const out = args.at(-1)!;
  const { fill } = op;
  if (fill !== undefined) forEachIndex(out.shape, (index) => out.set(at(out.strides, index), fill));
  for (const [i, x] of args.slice(0, -1).entries()) {
    const start = at(out.strides, op.starts[i]!);
    forEachIndex(x.shape, (index) => out.set(start + at(out.strides, index), x.get(at(x.strides, index))));
  }
}

export function fill(_: FillOp, args: readonly View[], [value]: readonly number[]): void {
  const out = args[0]!;
  forEachIndex(out.shape, (index) => out.set(at(out.strides, index), value!));
}

export function gather(op: GatherOp, args: readonly View[]): void {
  const [table, ids, out] = args as [View, View, View];
  const { axis } = op;
  const k = table.shape[axis]!;
  const idRank = ids.shape.length;
  forEachIndex(out.shape, (index) => {
    const id = ids.get(at(ids.strides, index.slice(axis, axis + idRank)));
    if (id < 0 || id >= k) throw new ShapeError(`gather: id ${id} is outside the table's ${k} rows`);
    const from = [...index.slice(0, axis), id, ...index.slice(axis + idRank)];
    out.set(at(out.strides, index), table.get(at(table.strides, from)));
  });
}

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

export function random(op: RandomOp, args: readonly View[], [seed0, seed1, offset]: readonly number[]): void {
  const out = args[0]!;
  const words = new Uint32Array(4);
  let i = 0;
  forEachIndex(out.shape, (index) => {
    const lane = i % 4;
    if (lane === 0) philox(offset! + i / 4, seed0!, seed1!, words);
    out.set(
      at(out.strides, index),
      op.distribution === 'uniform' ? (words[lane]! >>> 8) * 2 ** -24 : normal(words, lane),
    );
    i++;
  });
}

function normal(words: Uint32Array, lane: number): number {
  const [a, b] = lane < 2 ? [words[0]!, words[1]!] : [words[2]!, words[3]!];
  const r = Math.sqrt(-2 * Math.log((a + 1) * 2 ** -32));
  const angle = 2 * Math.PI * b * 2 ** -32;
  return r * (lane % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
}
