// layerNorm over the last axis, with optional weight and bias.

import type { LayerNormOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { lastAxisNorm } from './shared/rows.ts';

export const layerNorm: KernelFactory<LayerNormOp> = {
  choices: () => ['rows'],
  prepare: (op, args, _, traits) => lastAxisNorm('layerNorm/rows', op.eps, true, args, traits),
};
