// Rows by index: embeddings, index select. Indices out of range are an error where they can be seen without waiting.

import { size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { DTypeError } from '../errors.ts';
import { elementCount, layoutOf, normalizeAxis } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { exactTolerance } from '../testing/tolerance.ts';
import { SharedOps } from './shared-ops.ts';

/** table [..], ids int32 [..] → table's shape with `axis` replaced by the shape of ids. */
export interface GatherOp {
  readonly kind: 'gather';
  readonly axis: number;
}

/** See OpRules. */
export const gatherDefinition: OpDefinition<GatherOp> = {
  kind: 'gather',
  inputs: [2, 2],
  attributes: { axis: size },
  tolerance: exactTolerance,
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

const gathers = new SharedOps<GatherOp>();

/** table [.., k, ..], ids int32 [...] → table with `axis` replaced by the shape of ids. */
export function gather(table: Tensor, ids: Tensor, axis = 0): Tensor {
  const at = normalizeAxis('gather', axis, table.rank);
  return dispatch(
    gatherDefinition,
    gathers.of([at], () => ({ kind: 'gather', axis: at })),
    [table, ids],
  );
}

/** table [k, d], ids [...] → [..., d]. */
export const embedding = (table: Tensor, ids: Tensor): Tensor => gather(table, ids, 0);
