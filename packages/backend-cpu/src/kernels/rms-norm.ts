// rmsNorm on the row kernels.

import type { LayerNormOp, RmsNormOp } from '@darkroom/core/backend';
import type { Factory } from './kernel.ts';
import { lastAxisFactory } from './shared/rows.ts';

export const rmsNormFactory: Factory<LayerNormOp | RmsNormOp> = lastAxisFactory(false);
