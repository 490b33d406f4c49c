// Moving data between layouts, dtypes and places: contiguous, cast, concat, pad, slice assignment: one op kind.
// Every copy the framework makes is this op, so that traces show it.

import type { OpDefinition } from '../dispatch.ts';
import { dispatch, provideCopy } from '../dispatch.ts';
import type { DType } from '../dtype.ts';
import { dtypes, promote } from '../dtype.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import type { MemoryFormat } from '../layout.ts';
import {
  elementCount,
  layoutOf,
  memoryFormatOf,
  normalizeAxis,
  reshapeLayout,
  resolveShape,
} from '../layout.ts';
import type { CopyOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export const copyDefinition: OpDefinition<CopyOp> = {
  infer(op, inputs) {
    if (op.starts.length !== inputs.length) {
      throw new ArgumentError(`copy: ${inputs.length} inputs but ${op.starts.length} starts`);
    }
    for (const [i, x] of inputs.entries()) {
      const start = op.starts[i]!;
      const fits =
        x.layout.shape.length === op.shape.length &&
        start.length === op.shape.length &&
        x.layout.shape.every((d, a) => start[a]! >= 0 && start[a]! + d <= op.shape[a]!);
      if (!fits) {
        throw new ShapeError(
          `copy: input ${i} ${formatShape(x.layout.shape)} at ${formatShape(start)} does not fit in ${formatShape(op.shape)}`,
        );
      }
    }
    return { dtype: op.dtype, layout: layoutOf(op.shape, op.format) };
  },
  cost(op, inputs) {
    const read = inputs.reduce((s, x) => s + elementCount(x.layout.shape) * dtypes[x.dtype].bytes, 0);
    return { flops: 0, bytes: read + elementCount(op.shape) * dtypes[op.dtype].bytes };
  },
};

function assemble(
  inputs: readonly Tensor[],
  shape: readonly number[],
  starts: readonly (readonly number[])[],
  options: { dtype?: DType; format?: MemoryFormat; fill?: number; out?: Tensor } = {},
): Tensor {
  const first = inputs[0]!;
  const format =
    options.format ?? (memoryFormatOf(first.layout) === 'channelsLast' ? 'channelsLast' : 'contiguous');
  const dtype = options.dtype ?? inputs.map((x) => x.dtype).reduce((a, b) => promote(a, b));
  const op: CopyOp = {
    kind: 'copy',
    shape,
    dtype,
    format,
    starts,
    ...(options.fill !== undefined && { fill: options.fill }),
  };
  return dispatch(copyDefinition, op, inputs, { out: options.out });
}

const origin = (x: Tensor): number[] => x.shape.map(() => 0);

/** A fresh copy in `dtype` and `format` (default: as x). */
export function copy(x: Tensor, options: { dtype?: DType; format?: MemoryFormat } = {}): Tensor {
  return assemble([x], x.shape, [origin(x)], options);
}

/** x itself (another handle) when it is in this format already, else a copy. */
export function toFormat(x: Tensor, format: MemoryFormat): Tensor {
  const there = format === 'contiguous' ? memoryFormatOf(x.layout) === 'contiguous' : isFormat(x, format);
  return there ? x.alias() : copy(x, { format });
}

function isFormat(x: Tensor, format: MemoryFormat): boolean {
  return formatShape(x.strides) === formatShape(layoutOf(x.shape, format).strides);
}

export const contiguous = (x: Tensor): Tensor => toFormat(x, 'contiguous');

/** x in another dtype; another handle on the same memory when it is in it already. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x.alias() : copy(x, { dtype });
}

/** As view(), with a visible copy where strides do not allow a view. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  const to = resolveShape('reshape', shape, x.elements, x.shape);
  if (reshapeLayout(x.layout, to)) return x.view(to);
  const dense = copy(x, { format: 'contiguous' });
  const out = dense.view(to);
  dense.dispose();
  return out;
}

/** Tensors joined along `axis`; other dimensions must agree. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0];
  if (!first) throw new ArgumentError('concat: needs at least one tensor');
  const a = normalizeAxis('concat', axis, first.rank);
  const starts: number[][] = [];
  let at = 0;
  for (const t of tensors) {
    const same = t.rank === first.rank && t.shape.every((d, i) => i === a || d === first.shape[i]);
    if (!same) {
      throw new ShapeError(
        `concat: ${formatShape(t.shape)} and ${formatShape(first.shape)} differ off axis ${a}`,
      );
    }
    starts.push(t.shape.map((_, i) => (i === a ? at : 0)));
    at += t.shape[a]!;
  }
  return assemble(
    tensors,
    first.shape.map((d, i) => (i === a ? at : d)),
    starts,
  );
}

/** Adds [before, after] elements of `value` on each axis. */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  if (widths.length !== x.rank || widths.some(([l, r]) => l < 0 || r < 0)) {
    throw new ArgumentError(`pad: needs ${x.rank} pairs of sizes >= 0, got ${JSON.stringify(widths)}`);
  }
  const shape = x.shape.map((d, i) => d + widths[i]![0] + widths[i]![1]);
  return assemble([x], shape, [widths.map(([l]) => l)], { fill: value });
}

/** Writes x over `out` (same shape; casts). */
export function assign(x: Tensor, out: Tensor): void {
  assemble([x], out.shape, [origin(x)], { dtype: out.dtype, out });
}

provideCopy(assign, (x, format) => copy(x, { format }));
