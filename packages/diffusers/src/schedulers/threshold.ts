// Dynamic thresholding of x0 (Saharia et al. 2022, Imagen, section 2.3). The quantile is found on the device, without
// sorting and without reading anything back, so that a denoising step stays one batch of work and can be traced.

import { map, max, min, reshape, sum } from '@darkroom/core';
import type { Expr, Tensor } from '@darkroom/core';

/** Halvings of the interval: enough to tell neighbouring float32 values apart. */
const halvings = 32;

const x: Expr = ['in', 0];
const bound: Expr = ['in', 1];

/** values [n, size], not negative → [n, 1]: the q-quantile of each row, with linear interpolation (torch.quantile). */
export function quantile(values: Tensor, q: number): Tensor {
  const size = values.shape[1]!;
  const at = Math.fround(q * (size - 1));
  const k = Math.floor(at);
  const axes = { axes: [1], keepDims: true };
  const count = (limit: Tensor): Tensor => sum(map(['le', x, bound], [values, limit]), axes);
  const above = (limit: Tensor): Tensor =>
    min(map(['where', ['gt', x, bound], x, ['inf']], [values, limit]), axes);
  // At most k values are <= low, more than k are <= high: element k of the sorted row lies between.
  let high = max(values, axes);
  let low = map(-1, [high]);
  for (let i = 0; i < halvings; i++) {
    const middle = map(['mul', ['add', x, bound], 0.5], [low, high]);
    const few = map(['le', x, k], [count(middle)]);
    low = map(['where', ['in', 2], ['in', 1], x], [low, middle, few]);
    high = map(['where', ['in', 2], x, ['in', 1]], [high, middle, few]);
  }
  const a = above(low);
  // Element k + 1: a again where it occurs often enough, the next larger value, or a when it is the last.
  const next: Expr = ['where', ['or', ['gt', ['in', 2], k + 1], ['eq', bound, ['inf']]], x, bound];
  return map(['add', x, ['mul', ['sub', next, x], at - k]], [a, above(a), count(a)]);
}

/**
 * x0 [n, ...] limited to ±s and divided by s, where s is the `ratio` quantile of each item's magnitudes, held between
 * 1 and `limit`.
 */
export function thresholdSample(x0: Tensor, ratio: number, limit: number): Tensor {
  const n = x0.shape[0]!;
  const magnitudes = reshape(map(['abs', x], [x0], { dtype: 'float32' }), [n, -1]);
  const s = map(['min', ['max', x, 1], limit], [quantile(magnitudes, ratio)]);
  const column = s.view([n, ...x0.shape.slice(1).map(() => 1)]);
  return map(['div', ['min', ['max', x, ['neg', bound]], bound], bound], [x0, column], { dtype: x0.dtype });
}
