// Conversion from keys of a weight file to keys of models: renamed, fused and transposed layouts. A change of layout is
// a view, which applies both to a tensor on a device and to an abstract one.

import { ArgumentError, formatShape } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

/** The destination of a file's tensor, or of a slice of it. */
export interface Placement {
  /** The component that owns the weight; default: the only one loaded. Weights of components not loaded are skipped. */
  readonly component?: string;
  /** Key in the component's stateDict. */
  readonly key: string;
  /** A slice: elements start … stop - 1 along an axis. Default: the whole tensor. */
  readonly slice?: { readonly axis: number; readonly start: number; readonly stop: number };
  /** The change of layout, applied to the slice. */
  readonly transform?: Transform;
}

/** A change of a tensor's layout. */
export interface Transform {
  /** For messages. */
  readonly name: string;
  /** A view of `t`. */
  view(t: Tensor): Tensor;
}

/** Exchanges the last two axes, for files with linear layers as [in, out]. */
export const transpose: Transform = { name: 'transpose', view: (t) => t.transpose() };

/** [out, in] → [out, in, 1, 1]: a linear layer as a convolution. */
export const linearTo1x1: Transform = { name: 'linear to 1x1', view: (t) => t.view([...t.shape, 1, 1]) };

/** [out, in, 1, 1] → [out, in]: a convolution as a linear layer. */
export const linearFrom1x1: Transform = { name: '1x1 to linear', view: (t) => t.view(t.shape.slice(0, -2)) };

/**
 * Key and shape of a file's tensor → its destination: one, several for a fused tensor, or undefined to skip the tensor
 * (a buffer that the model does not keep). An unknown key is returned unchanged: the loader's error then names it.
 */
export type KeyConversion = (
  key: string,
  shape: readonly number[],
) => Placement | readonly Placement[] | undefined;

/** A conversion that only renames keys; undefined skips a tensor. */
export function renaming(rename: (key: string) => string | undefined): KeyConversion {
  return (key) => {
    const name = rename(key);
    return name === undefined ? undefined : { key: name };
  };
}

/**
 * Splits a fused tensor, like `in_proj_weight` [3d, d], into `keys`: equal parts along the first axis.
 * @throws ArgumentError if the rows do not divide by the number of keys
 */
export function splitRows(keys: readonly string[], shape: readonly number[]): Placement[] {
  const rows = (shape[0] ?? 0) / keys.length;
  if (!Number.isInteger(rows))
    throw new ArgumentError(
      `splitRows: ${formatShape(shape)} does not split into ${keys.length} equal parts (${keys.join(', ')})`,
    );
  return keys.map((key, i) => ({ key, slice: { axis: 0, start: i * rows, stop: (i + 1) * rows } }));
}

/** A placement's slice and transform applied to `t`, as a view of `t`. */
export function placed(t: Tensor, { slice, transform }: Placement): Tensor {
  const part = slice ? t.slice(slice.axis, slice.start, slice.stop) : t;
  return transform ? transform.view(part) : part;
}
