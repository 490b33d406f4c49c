// map, compiled from its expression.

import type { MapOp } from '@darkroom/core/backend';
import { supportedExpr } from '../simd/map-expression.ts';
import { prepareMap } from '../simd/map.ts';
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
