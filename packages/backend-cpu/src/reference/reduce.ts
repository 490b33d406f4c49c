// Reference kernel: reduce, sums in double precision.

import { evaluate } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { ReduceOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

function apply(expr: Expr | undefined, x: number): number {
  return expr === undefined ? x : evaluate(expr, { inputs: [x], scalars: [], index: [] });
}

export function reduce(op: ReduceOp, args: readonly View[]): void {
  const [x, out] = args as [View, View];
  const inner = x.shape.map((d, i) => (op.axes.includes(i) ? d : 1));
  const outer = x.shape.map((d, i) => (op.axes.includes(i) ? 1 : d));
  const outStrides = x.shape.map((_, i) => {
    if (op.axes.includes(i)) return 0;
    const position = op.keepDims ? i : i - op.axes.filter((a) => a < i).length;
    return out.strides[position]!;
  });
  forEachIndex(outer, (base) => {
    const start = at(x.strides, base);
    let [total, best, bestAt, n] = [0, NaN, 0, 0];
    forEachIndex(inner, (index) => {
      const value = apply(op.pre, x.get(start + at(x.strides, index)));
      total += value;
      const better = op.fn === 'min' ? value < best : value > best;
      if (n === 0 || better || (Number.isNaN(value) && !Number.isNaN(best))) [best, bestAt] = [value, n];
      n++;
    });
    const result = op.fn === 'sum' ? total : op.fn === 'argmax' ? bestAt : best;
    out.set(at(outStrides, base), apply(op.post, result));
  });
}
