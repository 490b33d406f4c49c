// layerNorm over the last axis, with optional weight and bias.

import type { LayerNormOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { inQuadRows, quadRowNorm } from './shared/quad-rows.ts';
import { lastAxisNorm } from './shared/rows.ts';

export const layerNorm: KernelFactory<LayerNormOp> = {
  choices: (_, args, traits) => (inQuadRows(args, traits) ? ['quads', 'rows'] : ['rows']),
  prepare: (op, args, choice, traits, wide) =>
    choice === 'quads' && wide
      ? quadRowNorm('layerNorm/quads', op.eps, true, args, traits)
      : lastAxisNorm('layerNorm/rows', op.eps, true, args, traits),
};
