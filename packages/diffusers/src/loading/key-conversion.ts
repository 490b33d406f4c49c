// From the keys of a weight file to those of the models: renamed, fused and transposed layouts. What becomes of a tensor
// is said once, as views, which apply to a tensor on a device as to the shape of one.

import { ArgumentError, formatShape } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

/** Where a tensor of a file goes, or a part of it. */
export interface Placement {
  /** The component whose weight it is; default: the only one that is loaded. Those of other components are left out. */
  readonly component?: string;
  /** Key in the component's stateDict. */
  readonly key: string;
  /** The part that is taken: elements start … stop - 1 along an axis. Default: all. */
  readonly slice?: { readonly axis: number; readonly start: number; readonly stop: number };
  /** What is made of that part. */
  readonly transform?: Transform;
}

/** A pure change of how a tensor's elements are ordered. */
export interface Transform {
  /** For messages. */
  readonly name: string;
  /** A view of `t`. */
  view(t: Tensor): Tensor;
}

/** Exchanges the last two axes: files of other libraries store linear layers as [in, out]. */
export const transpose: Transform = { name: 'transpose', view: (t) => t.transpose() };

/** [out, in] → [out, in, 1, 1]: a linear layer as a convolution. */
export const linearTo1x1: Transform = { name: 'linear to 1x1', view: (t) => t.view([...t.shape, 1, 1]) };

/** [out, in, 1, 1] → [out, in]: a convolution as a linear layer. */
export const linearFrom1x1: Transform = { name: '1x1 to linear', view: (t) => t.view(t.shape.slice(0, -2)) };

/**
 * Key and shape of a file's tensor → where it goes: one place, several for a fused tensor, undefined to leave it out (a
 * buffer that the model does not keep). A key that is not known stays as it is, so that the error names it.
 */
export type KeyConversion = (
  key: string,
  shape: readonly number[],
) => Placement | readonly Placement[] | undefined;

/** A conversion that renames keys alone; undefined leaves a tensor out. */
export function renaming(rename: (key: string) => string | undefined): KeyConversion {
  return (key) => {
    const name = rename(key);
    return name === undefined ? undefined : { key: name };
  };
}

/** The rows of a fused tensor as `keys`, in equal parts along the first axis: a fused `in_proj_weight` [3d, d]. */
export function splitRows(keys: readonly string[], shape: readonly number[]): Placement[] {
  const rows = (shape[0] ?? 0) / keys.length;
  if (!Number.isInteger(rows))
    throw new ArgumentError(
      `splitRows: ${formatShape(shape)} does not split into ${keys.length} equal parts (${keys.join(', ')})`,
    );
  return keys.map((key, i) => ({ key, slice: { axis: 0, start: i * rows, stop: (i + 1) * rows } }));
}

/** The part of `t` that a placement takes, as a view of `t`. */
export function placed(t: Tensor, { slice, transform }: Placement): Tensor {
  const part = slice ? t.slice(slice.axis, slice.start, slice.stop) : t;
  return transform ? transform.view(part) : part;
}
