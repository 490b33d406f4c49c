// rmsNorm over the last axis, with optional weight.

import type { RmsNormOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { lastAxisNorm } from './shared/rows.ts';

export const rmsNorm: KernelFactory<RmsNormOp> = {
  choices: () => ['rows'],
  prepare: (op, args, _, traits) => lastAxisNorm('rmsNorm/rows', op.eps, false, args, traits),
};
