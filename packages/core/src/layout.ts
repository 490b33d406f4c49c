// Layout: shape, strides and offset, all in ELEMENTS, and the algebra of views on it. Pure; no device, no dtype.
// The shape is always logical (n, c, h, w for images); strides carry the memory format (as in PyTorch).

import { ArgumentError, formatShape, ShapeError } from './errors.ts';

/** Shape, strides and offset in elements. */
export interface Layout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The memory formats that a tensor can be converted to; other layouts are 'strided'. */
export type MemoryFormat = 'contiguous' | 'channelsLast';

/** The product of the dimensions; 1 without any. */
export function elementCount(shape: readonly number[]): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** Row-major strides: [c*h*w, h*w, w, 1] for 4-D. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(1, shape[i]!);
  }
  return strides;
}

/** [h*w*c, 1, w*c, c] for [n, c, h, w]. */
export function channelsLastStrides(shape: readonly number[]): number[] {
  if (shape.length !== 4) throw new ShapeError(`channelsLast: needs 4 dimensions, got ${formatShape(shape)}`);
  const [, c, h, w] = shape as [number, number, number, number];
  return [h * w * c, 1, w * c, c];
}

/** The dense layout of a shape. @throws ShapeError for channelsLast of other than 4 dimensions. */
export function layoutOf(shape: readonly number[], format: MemoryFormat = 'contiguous'): Layout {
  const strides = format === 'channelsLast' ? channelsLastStrides(shape) : contiguousStrides(shape);
  return { shape, strides, offset: 0 };
}

/** Throws unless every dimension is a non-negative integer. */
export function checkShape(op: string, shape: readonly number[]): void {
  for (const d of shape) {
    if (!Number.isInteger(d) || d < 0) {
      throw new ShapeError(`${op}: dimensions must be integers >= 0, got ${formatShape(shape)}`);
    }
  }
}

/** True iff walking the shape in row-major order walks memory without gaps (size-1 dimensions do not count). */
export function isContiguous(l: Layout): boolean {
  return hasStrides(l, contiguousStrides(l.shape));
}

/** True iff 4-D and dense with channels innermost; a layout may be both this and contiguous (c = 1 or h = w = 1). */
export function isChannelsLast(l: Layout): boolean {
  return l.shape.length === 4 && hasStrides(l, channelsLastStrides(l.shape));
}

/** The format a layout is in. Ambiguous ones (c = 1, h = w = 1) count as contiguous unless only strides decide. */
export function memoryFormatOf(l: Layout): MemoryFormat | 'strided' {
  if (isContiguous(l)) return 'contiguous';
  return isChannelsLast(l) ? 'channelsLast' : 'strided';
}

function hasStrides(l: Layout, strides: readonly number[]): boolean {
  if (elementCount(l.shape) === 0) return true;
  return l.shape.every((d, i) => d === 1 || l.strides[i] === strides[i]);
}

/** True iff the elements fill one run of memory, in whatever order of dimensions, each exactly once. */
export function isDense(l: Layout): boolean {
  const dims = l.shape.map((d, i) => ({ d, s: l.strides[i]! })).filter((x) => x.d !== 1);
  dims.sort((a, b) => a.s - b.s);
  let step = 1;
  for (const { d, s } of dims) {
    if (s !== step) return false;
    step *= d;
  }
  return true;
}

/**
 * `l`'s shape without gaps, its dimensions nested as in `l`; row-major where strides do not say how (broadcast
 * dimensions, empty shapes). Dense layouts keep their strides.
 */
export function denseLike(l: Layout): Layout {
  if (isDense(l)) return { shape: l.shape, strides: l.strides, offset: 0 };
  const outer = l.shape.map((_, i) => i).sort((a, b) => l.strides[b]! - l.strides[a]! || a - b);
  if (l.shape.some((d, i) => d === 0 || (d > 1 && l.strides[i] === 0))) return layoutOf(l.shape);
  const strides = new Array<number>(l.shape.length).fill(1);
  let step = 1;
  for (const i of outer.toReversed()) {
    strides[i] = step;
    step *= l.shape[i]!;
  }
  return { shape: l.shape, strides, offset: 0 };
}

/** Elements from the first to the last one touched, counted from `offset`; 0 for empty shapes. */
export function span(l: Layout): number {
  if (elementCount(l.shape) === 0) return 0;
  return 1 + l.shape.reduce((n, d, i) => n + (d - 1) * l.strides[i]!, 0);
}

/** The axis counted from 0; negative ones count from the end. @throws ArgumentError outside the rank. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || a < 0 || a >= rank) {
    throw new ArgumentError(`${op}: axis must be in [${-rank}, ${rank}), got ${axis}`);
  }
  return a;
}

/** NumPy broadcasting of any number of shapes. */
export function broadcastShapes(op: string, ...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i;
      const d = shape[i]!;
      if (d === 1 || d === out[at]) continue;
      if (out[at] !== 1) {
        throw new ShapeError(
          `${op}: shapes do not broadcast: ${shapes.map((s) => formatShape(s)).join(' and ')}`,
        );
      }
      out[at] = d;
    }
  }
  return out;
}

/** `l` seen with `shape`: new leading axes and axes of size 1 get stride 0. */
export function expandLayout(op: string, l: Layout, shape: readonly number[]): Layout {
  const lead = shape.length - l.shape.length;
  const fits = lead >= 0 && l.shape.every((d, i) => d === 1 || d === shape[lead + i]);
  if (!fits) throw new ShapeError(`${op}: ${formatShape(l.shape)} does not expand to ${formatShape(shape)}`);
  const strides = shape.map((d, i) =>
    i < lead || (l.shape[i - lead] === 1 && d !== 1) ? 0 : l.strides[i - lead]!,
  );
  return { shape, strides, offset: l.offset };
}

/** Dimensions reordered. @throws ShapeError unless `axes` names each once. */
export function permuteLayout(l: Layout, axes: readonly number[]): Layout {
  const rank = l.shape.length;
  const normal = axes.map((a) => normalizeAxis('permute', a, rank));
  if (normal.length !== rank || new Set(normal).size !== rank) {
    throw new ShapeError(
      `permute: axes must name each of the ${rank} dimensions once, got ${formatShape(axes)}`,
    );
  }
  return {
    shape: normal.map((a) => l.shape[a]!),
    strides: normal.map((a) => l.strides[a]!),
    offset: l.offset,
  };
}

/** Elements start, start+step, … below stop along one axis; negative bounds count from the end. */
export function sliceLayout(l: Layout, axis: number, start: number, stop: number, step = 1): Layout {
  const a = normalizeAxis('slice', axis, l.shape.length);
  const d = l.shape[a]!;
  const from = start < 0 ? start + d : start;
  const to = Math.min(stop < 0 ? stop + d : stop, d);
  if (
    !Number.isInteger(from) ||
    !Number.isInteger(to) ||
    from < 0 ||
    from > d ||
    step < 1 ||
    !Number.isInteger(step)
  ) {
    throw new ShapeError(`slice: [${start}:${stop}:${step}] is outside axis ${a} of ${formatShape(l.shape)}`);
  }
  const shape = [...l.shape];
  shape[a] = Math.max(0, Math.ceil((to - from) / step));
  const strides = [...l.strides];
  strides[a] = l.strides[a]! * step;
  return { shape, strides, offset: l.offset + (shape[a] === 0 ? 0 : from * l.strides[a]!) };
}

/** Replaces one -1 by what the element count leaves; throws when the counts differ. */
export function resolveShape(
  op: string,
  shape: readonly number[],
  elements: number,
  from: readonly number[],
): number[] {
  const unknown = shape.indexOf(-1);
  const known = elementCount(shape.filter((d) => d !== -1));
  const out = [...shape];
  if (unknown >= 0) out[unknown] = known === 0 ? 0 : elements / known;
  checkShapeLike(op, out, elements, from, shape);
  return out;
}

function checkShapeLike(
  op: string,
  out: number[],
  elements: number,
  from: readonly number[],
  asked: readonly number[],
): void {
  if (out.some((d) => !Number.isInteger(d) || d < 0) || elementCount(out) !== elements) {
    throw new ShapeError(
      `${op}: ${formatShape(from)} has ${elements} elements, which ${formatShape(asked)} does not`,
    );
  }
}

/** `l` seen with `shape` without moving data, or undefined when only a copy could do it. */
export function reshapeLayout(l: Layout, shape: readonly number[]): Layout | undefined {
  if (elementCount(shape) === 0) return { shape, strides: contiguousStrides(shape), offset: l.offset };
  // Runs of old dimensions that are contiguous with each other can be regrouped freely.
  const old = l.shape.map((d, i) => ({ d, s: l.strides[i]! })).filter((x) => x.d !== 1);
  const strides = new Array<number>(shape.length).fill(1);
  let at = old.length - 1;
  let i = shape.length - 1;
  while (at >= 0) {
    // Collect one group: old dims from `at` backwards, new dims from `i` backwards, of equal products.
    let oldProduct = old[at]!.d;
    let newProduct = 1;
    let stride = old[at]!.s;
    let first = at;
    const startNew = i;
    while (i >= 0 && (newProduct < oldProduct || shape[i] === 1)) {
      newProduct *= shape[i]!;
      i--;
      while (newProduct > oldProduct && first > 0) {
        const outer = old[first - 1]!;
        const inner = old[first]!;
        if (outer.s !== inner.s * inner.d) return undefined;
        first--;
        oldProduct *= outer.d;
      }
      if (newProduct === oldProduct && !(i >= 0 && shape[i] === 1)) break;
    }
    if (newProduct !== oldProduct) return undefined;
    for (let k = startNew; k > i; k--) {
      strides[k] = stride;
      stride *= shape[k]!;
    }
    at = first - 1;
  }
  return { shape, strides, offset: l.offset };
}
