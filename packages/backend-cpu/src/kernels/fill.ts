// fill, compiled from an expression.

import type { FillOp } from '@darkroom/core/backend';
import { prepareMap } from '../simd/map.ts';
import { operand } from './kernel.ts';
import type { Factory } from './kernel.ts';

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
