// gather: moves raw bits in plain loops over typed arrays.

import { ShapeError } from '@darkroom/core';
import type { ArgSpec, GatherOp } from '@darkroom/core/backend';
import type { Factory } from './kernel.ts';
import { bits } from './shared/bits.ts';

const contiguousFrom = (spec: ArgSpec, axis: number): boolean => {
  let step = 1;
  for (let i = spec.layout.shape.length - 1; i >= axis; i--) {
    if (spec.layout.shape[i] !== 1 && spec.layout.strides[i] !== step) return false;
    step *= spec.layout.shape[i]!;
  }
  return true;
};

/** Rows of a table by index (axis 0), rows contiguous: embeddings. */
export const gatherFactory: Factory<GatherOp> = {
  choices(op, [table, ids, out]) {
    return op.axis === 0 && contiguousFrom(table!, 1) && contiguousFrom(ids!, 0) && contiguousFrom(out!, 0)
      ? ['rows']
      : [];
  },
  prepare(engine, _, args) {
    const [table, ids] = args as [ArgSpec, ArgSpec, ArgSpec];
    const [count, ...rest] = table.layout.shape as [number, ...number[]];
    const width = rest.reduce((a, b) => a * b, 1);
    const step = table.layout.strides[0]!;
    const n = ids.layout.shape.reduce((a, b) => a * b, 1);
    return ([t, i, o]) => {
      const [from, index, to] = [
        bits(engine, table.dtype, t!),
        new Int32Array(engine.memory.buffer, i!, n),
        bits(engine, table.dtype, o!),
      ];
      for (let r = 0; r < n; r++) {
        const id = index[r]!;
        if (id < 0 || id >= count)
          throw new ShapeError(`gather: id ${id} is outside the table's ${count} rows`);
        to.set(from.subarray(id * step, id * step + width), r * width);
      }
    };
  },
};
