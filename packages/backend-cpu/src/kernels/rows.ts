// softmax, the norms and reductions on the row kernels; what is not dense float32 is brought there for the run.

import { isFloat, memoryFormatOf } from '@darkroom/core';
import type { ArgSpec, GroupNormOp, LayerNormOp, ReduceOp, RmsNormOp, SoftmaxOp } from '@darkroom/core';
import { prepareGroupNorm, prepareGroupNormLast } from '../simd/group-norm.ts';
import { supportedExpr } from '../simd/map.ts';
import { prepareReduce } from '../simd/reduce.ts';
import { prepareLastAxisNorm, prepareSoftmax } from '../simd/rows.ts';
import { prepareSoftmaxAcross } from '../simd/softmax.ts';
import { isDense, operand, withDense } from './kernel.ts';
import type { Factory } from './kernel.ts';

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const floats = (args: readonly ArgSpec[]): boolean =>
  args.every((a) => isFloat(a.dtype)) && args.every((a) => a.layout.shape.length <= 5);
const notDense = (args: readonly ArgSpec[]): boolean[] => args.map((a) => !isDense(a));

export const softmaxFactory: Factory<SoftmaxOp> = {
  choices: (_, args) => (floats(args) ? ['simd'] : []),
  prepare(engine, op, args) {
    const { shape } = args[0]!.layout;
    const inner = product(shape.slice(op.axis + 1));
    if (inner > 1) {
      const across = prepareSoftmaxAcross(engine, product(shape.slice(0, op.axis)), shape[op.axis]!, inner);
      return withDense(engine, args, notDense(args), (p) => across.run(p[0]!, p[1]!));
    }
    const prepared = prepareSoftmax(engine, product(shape.slice(0, op.axis)), shape[op.axis]!);
    return withDense(engine, args, notDense(args), (p) => prepared.run(p));
  },
};

export const reduceFactory: Factory<ReduceOp> = {
  choices(op, args) {
    const fits = op.fn !== 'argmax' && floats(args) && args.length === 2;
    const known = [op.pre, op.post].every((e) => e === undefined || supportedExpr(e));
    return fits && known ? ['simd'] : [];
  },
  prepare(engine, op, args) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const { shape } = x.layout;
    const { fn, axes, pre, post } = op;
    const position = (axis: number): number => axis - (op.keepDims ? 0 : axes.filter((a) => a < axis).length);
    const strides = shape.map((_, axis) => (axes.includes(axis) ? 0 : out.layout.strides[position(axis)]!));
    const y = { dtype: out.dtype, strides };
    const prepared = prepareReduce(engine, { fn, shape, axes, pre, post, x: operand(x), y })!;
    return (p) => prepared.run(p[0]!, p[1]!);
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
