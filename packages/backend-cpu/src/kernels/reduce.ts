// reduce on the row and column kernels.

import type { ArgSpec, ReduceOp } from '@darkroom/core/backend';
import { supportedExpr } from '../simd/map-expression.ts';
import { prepareReduce } from '../simd/reduce.ts';
import { operand } from './kernel.ts';
import type { Factory } from './kernel.ts';
import { areFloatRows } from './shared/rows.ts';

export const reduceFactory: Factory<ReduceOp> = {
  choices(op, args) {
    const fits = op.fn !== 'argmax' && areFloatRows(args) && args.length === 2;
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
