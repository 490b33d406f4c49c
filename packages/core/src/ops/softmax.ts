// Softmax over one axis. Not fused with attention: see attention.ts. Accumulates in float32 on every backend.

import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { elementCount, normalizeAxis } from '../layout.ts';
import type { SoftmaxOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { likeInputs } from './map.ts';
import { div, exp, sub } from './pointwise.ts';
import { max, sum } from './reduce.ts';

export const softmaxDefinition: OpDefinition<SoftmaxOp> = {
  infer(op, [x]) {
    requireFloat('softmax', 'x', x!.dtype);
    normalizeAxis('softmax', op.axis, x!.layout.shape.length);
    return { dtype: x!.dtype, layout: likeInputs(x!.layout.shape, [x!]) };
  },
  /** 5 flops an element; reads and writes once. */
  cost(_, [x]) {
    const n = elementCount(x!.layout.shape);
    return { flops: 5 * n, bytes: 2 * n * dtypes[x!.dtype].bytes };
  },
  /** The definition: exp(x - max) / sum. */
  decompose(op, [x]) {
    const e = exp(sub(x!, max(x!, { axes: [op.axis], keepDims: true })));
    return div(e, sum(e, { axes: [op.axis], keepDims: true }));
  },
};

/** x [..., k, ...] → probabilities along `axis` (default last), same shape and layout. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return dispatch(softmaxDefinition, { kind: 'softmax', axis: normalizeAxis('softmax', axis, x.rank) }, [x]);
}
