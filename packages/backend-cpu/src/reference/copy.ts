// Reference kernel: copy, inputs to their places over an optional background.

import type { CopyOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function copy(op: CopyOp, args: readonly View[]): void {
  const out = args.at(-1)!;
  const { fill } = op;
  if (fill !== undefined) forEachIndex(out.shape, (index) => out.set(at(out.strides, index), fill));
  for (const [i, x] of args.slice(0, -1).entries()) {
    const start = at(out.strides, op.starts[i]!);
    forEachIndex(x.shape, (index) => out.set(start + at(out.strides, index), x.get(at(x.strides, index))));
  }
}
