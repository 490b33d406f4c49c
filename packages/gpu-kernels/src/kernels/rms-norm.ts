// rmsNorm over the last axis, with optional weight.

import type { RmsNormOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { inQuadRows, quadRowNorm } from './shared/quad-rows.ts';
import { lastAxisNorm } from './shared/rows.ts';

export const rmsNorm: KernelFactory<RmsNormOp> = {
  choices: (_, args, traits) => (inQuadRows(args, traits) ? ['quads', 'rows'] : ['rows']),
  prepare: (op, args, choice, traits, wide) =>
    choice === 'quads' && wide
      ? quadRowNorm('rmsNorm/quads', op.eps, false, args, traits)
      : lastAxisNorm('rmsNorm/rows', op.eps, false, args, traits),
};
