// Copies the elements of a view out of bytes in host memory.

import { dtypes } from '@darkroom/core';
import { elementCount, isContiguous } from '@darkroom/core/backend';
import type { DType, Layout } from '@darkroom/core';

const arrays = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const;

/** A contiguous copy of the elements of `layout` in `data`, whose start is aligned to elements of `dtype`. */
export function gather(data: Uint8Array, layout: Layout, dtype: DType): Uint8Array {
  const size = dtypes[dtype].bytes as keyof typeof arrays;
  const { shape, strides, offset } = layout;
  const count = elementCount(shape);
  if (isContiguous(layout)) return data.slice(offset * size, (offset + count) * size);
  const from = new arrays[size](data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / size);
  const out = new arrays[size](count);
  const [width, step] = [shape.at(-1)!, strides.at(-1)!];
  const rowShape = shape.slice(0, -1);
  for (let row = 0; row * width < count; row++) {
    let [start, rest] = [offset, row];
    for (let axis = rowShape.length - 1; axis >= 0; axis--) {
      start += (rest % rowShape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / rowShape[axis]!);
    }
    for (let i = 0; i < width; i++) out[row * width + i] = from[start + i * step]!;
  }
  return new Uint8Array(out.buffer);
}
