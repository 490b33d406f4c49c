// Reference kernels: map, and the epilogue that matmul and conv2d share with it.

import { evaluate } from '@darkroom/core';
import type { Expr, MapOp } from '@darkroom/core';
import { at, broadcastStrides, forEachIndex } from './access.ts';
import type { View } from './access.ts';

export function map(op: MapOp, args: readonly View[], scalars: readonly number[]): void {
  const out = args.at(-1)!;
  const inputs = args.slice(0, -1);
  const strides = inputs.map((x) => broadcastStrides(x, out.shape));
  const values = new Float64Array(inputs.length);
  // Scalars reach a device as float32.
  const scalars32 = scalars.map(Math.fround);
  forEachIndex(out.shape, (index) => {
    for (let i = 0; i < inputs.length; i++) values[i] = inputs[i]!.get(at(strides[i]!, index));
    out.set(at(out.strides, index), evaluate(op.expr, { inputs: values, scalars: scalars32, index }));
  });
}

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
