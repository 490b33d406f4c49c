// copy, compiled from expressions: one for each input, and one for the background.

import type { CopyOp } from '@darkroom/core/backend';
import { sizeOf } from '../simd/elements.ts';
import { prepareMap } from '../simd/map.ts';
import { operand } from './kernel.ts';
import type { Factory } from './kernel.ts';

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
