// groupNorm on the row kernels, or on channels-last images as they lie.

import { elementCount, memoryFormatOf } from '@darkroom/core/backend';
import type { GroupNormOp } from '@darkroom/core/backend';
import { prepareGroupNorm, prepareGroupNormLast } from '../simd/group-norm.ts';
import { isDense, withDense } from './kernel.ts';
import type { Factory } from './kernel.ts';
import { areFloatRows, notDense } from './shared/rows.ts';

export const groupNormFactory: Factory<GroupNormOp> = {
  choices: (_, args) => (areFloatRows(args) ? ['simd'] : []),
  prepare(engine, op, args) {
    const x = args[0]!;
    const y = args.at(-1)!;
    const [n, channels, ...rest] = x.layout.shape as [number, number, ...number[]];
    const spec = {
      n,
      channels,
      groups: op.groups,
      inner: elementCount(rest),
      eps: op.eps,
      affine: (args.length - 2) as 0 | 1 | 2,
      silu: op.activation === 'silu',
    };
    const last = [x, y].every((a) => a.dtype === 'float32' && memoryFormatOf(a.layout) === 'channelsLast');
    if (last) {
      const prepared = prepareGroupNormLast(engine, spec);
      const needs = args.map((a, i) => i > 0 && i < args.length - 1 && !isDense(a));
      return withDense(engine, args, needs, (p) => prepared.run(p));
    }
    const prepared = prepareGroupNorm(engine, spec);
    return withDense(engine, args, notDense(args), (p) => prepared.run(p));
  },
};
