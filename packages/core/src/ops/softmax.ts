// Softmax over one axis. Not fused with attention: see attention.ts. Accumulates in float32 on every backend.

import { size } from '../attributes.ts';
import type { OpDefinition } from '../dispatch.ts';
import { dispatch } from '../dispatch.ts';
import { dtypes, requireFloat } from '../dtype.ts';
import { elementCount, normalizeAxis } from '../layout.ts';
import type { Tensor } from '../tensor.ts';
import { pointwiseTolerance } from '../testing/tolerance.ts';
import { likeInputs } from './map.ts';
import { div, exp, sub } from './pointwise.ts';
import { max, sum } from './reduce.ts';
import { SharedOps } from './shared-ops.ts';

/** exp(x - max) / Σ exp(x - max) along `axis`. */
export interface SoftmaxOp {
  readonly kind: 'softmax';
  readonly axis: number;
}

/** See OpRules. */
export const softmaxDefinition: OpDefinition<SoftmaxOp> = {
  kind: 'softmax',
  inputs: [1, 1],
  attributes: { axis: size },
  tolerance: (_op, _inputs, output) => pointwiseTolerance(output),
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

const softmaxes = new SharedOps<SoftmaxOp>();

/** x [..., k, ...] → probabilities along `axis` (default last), same shape and layout. */
export function softmax(x: Tensor, axis = -1): Tensor {
  const at = normalizeAxis('softmax', axis, x.rank);
  return dispatch(
    softmaxDefinition,
    softmaxes.of([at], () => ({ kind: 'softmax', axis: at })),
    [x],
  );
}
