// Reference kernel: layerNorm over the last axis.

import type { LayerNormOp } from '@darkroom/core/backend';
import { lastAxisNorm } from './shared/normalize.ts';
import type { View } from './shared/access.ts';

export const layerNorm = (op: LayerNormOp, args: readonly View[]): void => lastAxisNorm(args, op.eps, true);
