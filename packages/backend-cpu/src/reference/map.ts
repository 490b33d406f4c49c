// Reference kernel: map.

import { evaluate } from '@darkroom/core/backend';
import type { MapOp } from '@darkroom/core/backend';
import { at, broadcastStrides, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

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
