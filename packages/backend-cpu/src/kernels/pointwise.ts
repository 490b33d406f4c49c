// map, copy and fill: all compiled from expressions.

import type { CopyOp, FillOp, MapOp } from '@darkroom/core';
import { prepareMap, supportedExpr } from '../simd/map.ts';
import { sizeOf } from '../simd/elements.ts';
import { broadcast, operand } from './kernel.ts';
import type { Factory } from './kernel.ts';

export const mapFactory: Factory<MapOp> = {
  choices: (op, args) =>
    supportedExpr(op.expr) && args.length <= 7 && args[0]!.layout.shape.length <= 5 ? ['simd'] : [],
  prepare(engine, op, args) {
    const out = args.at(-1)!;
    const { shape } = out.layout;
    const prepared = prepareMap(engine, {
      expr: op.expr,
      shape,
      inputs: args.slice(0, -1).map((a) => broadcast(a, shape)),
      output: operand(out),
    })!;
    return (pointers, scalars) => prepared.run(pointers, scalars);
  },
};

export const copyFactory: Factory<CopyOp> = {
  choices: (_, args) => (args.at(-1)!.layout.shape.length <= 5 ? ['simd'] : []),
  prepare(engine, op, args) {
    const out = args.at(-1)!;
    const to = operand(out);
    const at = (start: readonly number[]): number =>
      sizeOf[out.dtype] * start.reduce((n, s, i) => n + s * to.strides[i]!, 0);
    const filler =
      op.fill === undefined
        ? undefined
        : prepareMap(engine, { expr: op.fill, shape: out.layout.shape, inputs: [], output: to })!;
    const parts = args.slice(0, -1).map((x, i) => ({
      offset: at(op.starts[i]!),
      move: prepareMap(engine, { expr: ['in', 0], shape: x.layout.shape, inputs: [operand(x)], output: to })!,
    }));
    return (pointers) => {
      const y = pointers.at(-1)!;
      filler?.run([y], []);
      parts.forEach(({ offset, move }, i) => move.run([pointers[i]!, y + offset], []));
    };
  },
};

export const fillFactory: Factory<FillOp> = {
  choices: (_, args) => (args[0]!.layout.shape.length <= 5 ? ['simd'] : []),
  prepare(engine, _, args) {
    const out = args[0]!;
    const prepared = prepareMap(engine, {
      expr: ['scalar', 0],
      shape: out.layout.shape,
      inputs: [],
      output: operand(out),
    })!;
    return (pointers, scalars) => prepared.run(pointers, scalars);
  },
};
