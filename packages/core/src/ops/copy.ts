// Moving data between layouts, dtypes and places: contiguous, cast, concat, pad, slice assignment: one op kind.
// Every copy the framework makes is this op, so that traces show it.

import { dispatch } from '../dispatch.ts';
import type { DType } from '../dtype.ts';
import { promote } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import type { MemoryFormat } from '../layout.ts';
import { layoutOf, memoryFormatOf, normalizeAxis, reshapeLayout, resolveShape } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { copyRules, wholeCopy } from './copy-rules.ts';
import type { CopyOp } from './copy-rules.ts';
import { SharedOps } from './shared-ops.ts';

/** A fresh copy in `dtype` and `format` (default: as x). */
export function copy(x: Tensor, options: { dtype?: DType; format?: MemoryFormat } = {}): Tensor {
  const { dtype = x.dtype, format = x.memoryFormat } = options;
  return dispatch(copyRules, wholeCopy(x.shape, dtype, format), [x]);
}

/** x itself (another handle) when it is in this format already, else a copy. */
export function toFormat(x: Tensor, format: MemoryFormat): Tensor {
  const there = format === 'contiguous' ? memoryFormatOf(x.layout) === 'contiguous' : isFormat(x, format);
  return there ? x.alias() : copy(x, { format });
}

function isFormat(x: Tensor, format: MemoryFormat): boolean {
  return formatShape(x.strides) === formatShape(layoutOf(x.shape, format).strides);
}

/** x itself (another handle) when it is in row-major order, else a row-major copy. */
export const contiguous = (x: Tensor): Tensor => toFormat(x, 'contiguous');

/** x in another dtype; another handle on the same memory when x has that dtype. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x.alias() : copy(x, { dtype });
}

/** x in another shape: a view, or a recorded copy where strides do not allow a view. @throws as view(). */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const to = resolveShape('reshape', shape, x.elements, x.shape);
  if (reshapeLayout(x.layout, to)) return x.view(to);
  const dense = copy(x, { format: 'contiguous' });
  const out = dense.view(to);
  dense.dispose();
  return out;
}

const joins = new SharedOps<CopyOp>();

/** Tensors joined along `axis`; other dimensions must agree. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0];
  if (!first) throw new ArgumentError('concat: needs at least one tensor');
  const a = normalizeAxis('concat', axis, first.rank);
  for (const t of tensors) {
    const same = t.rank === first.rank && t.shape.every((d, i) => i === a || d === first.shape[i]);
    if (!same) {
      throw new ShapeError(
        `concat: ${formatShape(t.shape)} and ${formatShape(first.shape)} differ off axis ${a}`,
      );
    }
  }
  const [dtype, format] = placedAs(tensors);
  const sizes = tensors.map((t) => t.shape[a]!);
  const op = joins.of([dtype, format, a, first.rank, ...first.shape, ...sizes], () => {
    let at = 0;
    const starts = sizes.map((size) => {
      const start = first.shape.map((_, i) => (i === a ? at : 0));
      at += size;
      return start;
    });
    return { kind: 'copy', shape: first.shape.map((d, i) => (i === a ? at : d)), dtype, format, starts };
  });
  return dispatch(copyRules, op, tensors);
}

/** Adds [before, after] elements of `value` on each axis. */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  if (widths.length !== x.rank || widths.some(([l, r]) => l < 0 || r < 0)) {
    throw new ArgumentError(`pad: needs ${x.rank} pairs of sizes >= 0, got ${JSON.stringify(widths)}`);
  }
  const shape = x.shape.map((d, i) => d + widths[i]![0] + widths[i]![1]);
  const [dtype, format] = placedAs([x]);
  const op: CopyOp = { kind: 'copy', shape, dtype, format, starts: [widths.map(([l]) => l)], fill: value };
  return dispatch(copyRules, op, [x]);
}

/** Dtype and format of joined tensors: the promotion of all dtypes, the format of the first. */
function placedAs(tensors: readonly Tensor[]): [DType, MemoryFormat] {
  const dtype = tensors.map((t) => t.dtype).reduce((a, b) => promote(a, b));
  return [dtype, tensors[0]!.memoryFormat === 'channelsLast' ? 'channelsLast' : 'contiguous'];
}
