// The epilogue of the reference products: the expression that ends them.

import { evaluate } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import { at, broadcastStrides } from './access.ts';
import type { View } from './access.ts';

/** A function that turns the accumulator at an output coordinate into the value to store. */
export function epilogue(
  expr: Expr | undefined,
  extra: readonly View[],
  shape: readonly number[],
): (acc: number, index: readonly number[]) => number {
  if (expr === undefined) return (acc) => acc;
  const strides = extra.map((x) => broadcastStrides(x, shape));
  const values = new Float64Array(1 + extra.length);
  return (acc, index) => {
    values[0] = acc;
    for (let i = 0; i < extra.length; i++) values[i + 1] = extra[i]!.get(at(strides[i]!, index));
    return evaluate(expr, { inputs: values, scalars: [], index });
  };
}
