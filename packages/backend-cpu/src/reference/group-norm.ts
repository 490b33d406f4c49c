// Reference kernel: groupNorm with optional SiLU.

import type { GroupNormOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';
import { normalize } from './shared/normalize.ts';

export function groupNorm(op: GroupNormOp, args: readonly View[]): void {
  const x = args[0]!;
  const out = args.at(-1)!;
  const [weight, bias] = args.slice(1, -1);
  const [n, c, ...rest] = x.shape as [number, number, ...number[]];
  const perGroup = c / op.groups;
  const block = [1, perGroup, ...rest];
  const values = new Float64Array(block.reduce((a, b) => a * b, 1));
  forEachIndex([n, op.groups], (index) => {
    const base = [index[0]!, index[1]! * perGroup, ...rest.map(() => 0)];
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    let i = 0;
    forEachIndex(block, (inner) => (values[i++] = x.get(xi + at(x.strides, inner))));
    normalize(values, op.eps, true);
    i = 0;
    forEachIndex(block, (inner) => {
      const channel = base[1]! + inner[1]!;
      let v = values[i++]!;
      if (weight) v *= weight.get(channel * weight.strides[0]!);
      if (bias) v += bias.get(channel * bias.strides[0]!);
      if (op.activation === 'silu') v /= 1 + Math.exp(-v);
      out.set(oi + at(out.strides, inner), v);
    });
  });
}
