// Rows by index: embeddings, index select. Indices out of range are an error where they can be seen without waiting.

import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { DTypeError } from '../errors.ts';
import { elementCount, layoutOf, normalizeAxis } from '../layout.ts';
import type { GatherOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

export const gatherDefinition: OpDefinition<GatherOp> = {
  infer(op, [table, ids]) {
    if (ids!.dtype !== 'int32') throw new DTypeError(`gather: ids must be int32, got ${ids!.dtype}`);
    const { shape } = table!.layout;
    const axis = normalizeAxis('gather', op.axis, shape.length);
    return {
      dtype: table!.dtype,
      layout: layoutOf([...shape.slice(0, axis), ...ids!.layout.shape, ...shape.slice(axis + 1)]),
    };
  },
  cost(op, inputs) {
    const out = this.infer(op, inputs);
    const n = elementCount(out.layout.shape);
    return { flops: 0, bytes: 2 * n * dtypes[out.dtype].bytes + 4 * elementCount(inputs[1]!.layout.shape) };
  },
};

/** table [.., k, ..], ids int32 [...] → table with `axis` replaced by the shape of ids. */
export function gather(table: Tensor, ids: Tensor, axis = 0): Tensor {
  return dispatch(gatherDefinition, { kind: 'gather', axis: normalizeAxis('gather', axis, table.rank) }, [
    table,
    ids,
  ]);
}

/** table [k, d], ids [...] → [..., d]. */
export const embedding = (table: Tensor, ids: Tensor): Tensor => gather(table, ids, 0);
