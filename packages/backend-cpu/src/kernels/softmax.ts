// softmax on the row kernels.

import { elementCount } from '@darkroom/core/backend';
import type { SoftmaxOp } from '@darkroom/core/backend';
import { prepareSoftmax, prepareSoftmaxAcross } from '../simd/softmax.ts';
import { withDense } from './kernel.ts';
import type { Factory } from './kernel.ts';
import { areFloatRows, notDense } from './shared/rows.ts';

export const softmaxFactory: Factory<SoftmaxOp> = {
  choices: (_, args) => (areFloatRows(args) ? ['simd'] : []),
  prepare(engine, op, args) {
    const { shape } = args[0]!.layout;
    const inner = elementCount(shape.slice(op.axis + 1));
    if (inner > 1) {
      const across = prepareSoftmaxAcross(
        engine,
        elementCount(shape.slice(0, op.axis)),
        shape[op.axis]!,
        inner,
      );
      return withDense(engine, args, notDense(args), (p) => across.run(p[0]!, p[1]!));
    }
    const prepared = prepareSoftmax(engine, elementCount(shape.slice(0, op.axis)), shape[op.axis]!);
    return withDense(engine, args, notDense(args), (p) => prepared.run(p));
  },
};
