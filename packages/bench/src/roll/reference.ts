// The oracle: one loop over the elements.

import type { Reference, View } from '@darkroom/backend-cpu';
import type { RollOp } from './roll.ts';

export const rollReference: Reference<RollOp> = ({ axis, shift }, args) => {
  const [x, out] = args as [View, View];
  const { shape } = out;
  const count = shape.reduce((a, b) => a * b, 1);
  for (let flat = 0; flat < count; flat++) {
    let [rest, from, to] = [flat, 0, 0];
    for (let d = shape.length - 1; d >= 0; d--) {
      const at = rest % shape[d]!;
      rest = (rest - at) / shape[d]!;
      to += at * out.strides[d]!;
      from += (d === axis ? (at - shift + shape[d]!) % shape[d]! : at) * x.strides[d]!;
    }
    out.set(to, x.get(from));
  }
};
