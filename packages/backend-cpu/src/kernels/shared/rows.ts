// Shared by softmax, the norms and reductions: they run on rows; other tensors than dense float32 ones are copied to
// such for the run.

import { isFloat } from '@darkroom/core';
import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec, LayerNormOp, RmsNormOp } from '@darkroom/core/backend';
import { prepareLastAxisNorm } from '../../simd/layer-norm.ts';
import { isDense, withDense } from '../kernel.ts';
import type { Factory } from '../kernel.ts';

/** True if the row kernels take every argument: floats of at most five dimensions. */
export const areFloatRows = (args: readonly ArgSpec[]): boolean =>
  args.every((a) => isFloat(a.dtype)) && args.every((a) => a.layout.shape.length <= 5);

/** For each argument, true if it must be copied to dense float32. */
export const notDense = (args: readonly ArgSpec[]): boolean[] => args.map((a) => !isDense(a));

/** layerNorm (`centred`) or rmsNorm over the last axis. */
export function lastAxisFactory(centred: boolean): Factory<LayerNormOp | RmsNormOp> {
  return {
    choices: (_, args) => (areFloatRows(args) ? ['simd'] : []),
    prepare(engine, op, args) {
      const { shape } = args[0]!.layout;
      const affine = args.length - 2;
      const options = { eps: op.eps, centred, weight: affine > 0, bias: affine > 1 };
      const prepared = prepareLastAxisNorm(engine, elementCount(shape.slice(0, -1)), shape.at(-1)!, options);
      return withDense(engine, args, notDense(args), (p) => prepared.run(p));
    },
  };
}
