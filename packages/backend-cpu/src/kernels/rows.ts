// softmax and the norms on the row kernels; what is not dense float32 is brought there for the run.

import { isFloat, memoryFormatOf } from '@darkroom/core';
import type { ArgSpec, GroupNormOp, LayerNormOp, RmsNormOp, SoftmaxOp } from '@darkroom/core';
import { prepareGroupNorm, prepareGroupNormLast } from '../simd/group-norm.ts';
import { prepareLastAxisNorm, prepareSoftmax } from '../simd/rows.ts';
import { isDense, withDense } from './kernel.ts';
import type { Factory } from './kernel.ts';

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const floats = (args: readonly ArgSpec[]): boolean =>
  args.every((a) => isFloat(a.dtype)) && args.every((a) => a.layout.shape.length <= 5);
const notDense = (args: readonly ArgSpec[]): boolean[] => args.map((a) => !isDense(a));

export const softmaxFactory: Factory<SoftmaxOp> = {
  choices: (op, args) => (floats(args) && op.axis === args[0]!.layout.shape.length - 1 ? ['simd'] : []),
  prepare(engine, _, args) {
    const { shape } = args[0]!.layout;
    const prepared = prepareSoftmax(engine, product(shape.slice(0, -1)), shape.at(-1)!);
    return withDense(engine, args, notDense(args), (p) => prepared.run(p));
  },
};

function lastAxis(centred: boolean): Factory<LayerNormOp | RmsNormOp> {
  return {
    choices: (_, args) => (floats(args) ? ['simd'] : []),
    prepare(engine, op, args) {
      const { shape } = args[0]!.layout;
      const affine = args.length - 2;
      const options = { eps: op.eps, centred, weight: affine > 0, bias: affine > 1 };
      const prepared = prepareLastAxisNorm(engine, product(shape.slice(0, -1)), shape.at(-1)!, options);
      return withDense(engine, args, notDense(args), (p) => prepared.run(p));
    },
  };
}
export const layerNormFactory: Factory<LayerNormOp | RmsNormOp> = lastAxis(true);
export const rmsNormFactory: Factory<LayerNormOp | RmsNormOp> = lastAxis(false);

export const groupNormFactory: Factory<GroupNormOp> = {
  choices: (_, args) => (floats(args) ? ['simd'] : []),
  prepare(engine, op, args) {
    const x = args[0]!;
    const y = args.at(-1)!;
    const [n, channels, ...rest] = x.layout.shape as [number, number, ...number[]];
    const spec = {
      n,
      channels,
      groups: op.groups,
      inner: product(rest),
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
