// Index spaces: dimensions that several arguments walk together, merged where every argument's strides allow it.
// Fewer dimensions mean fewer divisions in the shader, and contiguous tensors of any rank become one row.

import type { Layout } from '@darkroom/core';

/** An index space that several arguments walk together; strides count elements. */
export interface Dimensions {
  readonly shape: readonly number[];
  /** strides[argument][dimension]. */
  readonly strides: readonly (readonly number[])[];
}

/** Strides of `layout` seen from `shape`: broadcast dimensions get 0. */
export function broadcastStrides(layout: Layout, shape: readonly number[]): number[] {
  const lead = shape.length - layout.shape.length;
  return shape.map((_, d) => (d < lead || layout.shape[d - lead] === 1 ? 0 : layout.strides[d - lead]!));
}

/** The same walk with size-1 dimensions dropped and neighbours merged; at least one dimension remains. */
export function collapse(shape: readonly number[], strides: readonly (readonly number[])[]): Dimensions {
  const outShape: number[] = [];
  const outStrides: number[][] = strides.map(() => []);
  for (let d = 0; d < shape.length; d++) {
    if (shape[d] === 1) continue;
    const last = outShape.length - 1;
    const joins = last >= 0 && strides.every((s, a) => outStrides[a]![last] === s[d]! * shape[d]!);
    if (joins) {
      outShape[last] = outShape[last]! * shape[d]!;
      strides.forEach((s, a) => (outStrides[a]![last] = s[d]!));
    } else {
      outShape.push(shape[d]!);
      strides.forEach((s, a) => outStrides[a]!.push(s[d]!));
    }
  }
  if (outShape.length === 0) return { shape: [1], strides: strides.map(() => [0]) };
  return { shape: outShape, strides: outStrides };
}

/** Dimensions reordered so that argument `lead` walks its memory forwards; results may then merge further. */
export function orderedBy(d: Dimensions, lead: number): Dimensions {
  const order = d.shape.map((_, i) => i).sort((a, b) => d.strides[lead]![b]! - d.strides[lead]![a]! || a - b);
  return collapse(
    order.map((i) => d.shape[i]!),
    d.strides.map((s) => order.map((i) => s[i]!)),
  );
}

/**
 * 'quad' if argument `a` can be read in quads along the last dimension: its elements are adjacent and every row starts
 * at a multiple of four. 'splat' if one element serves the quad; else undefined.
 */
export function quads(d: Dimensions, a: number): 'quad' | 'splat' | undefined {
  const last = d.shape.length - 1;
  if (d.shape[last]! % 4 !== 0) return undefined;
  const s = d.strides[a]!;
  if (s[last] === 0) return 'splat';
  return s[last] === 1 && s.slice(0, last).every((x) => x % 4 === 0) ? 'quad' : undefined;
}
