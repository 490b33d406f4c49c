// Reference kernel: softmax, maximum, exponentials and their sum in double precision.

import type { SoftmaxOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function softmax(op: SoftmaxOp, args: readonly View[]): void {
  const [x, out] = args as [View, View];
  const k = x.shape[op.axis]!;
  const outer = x.shape.map((d, i) => (i === op.axis ? 1 : d));
  const row = new Float64Array(k);
  forEachIndex(outer, (base) => {
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    let highest = -Infinity;
    for (let i = 0; i < k; i++) highest = Math.max(highest, (row[i] = x.get(xi + i * x.strides[op.axis]!)));
    let total = 0;
    for (let i = 0; i < k; i++) total += row[i] = Math.exp(row[i]! - highest);
    for (let i = 0; i < k; i++) out.set(oi + i * out.strides[op.axis]!, row[i]! / total);
  });
}
