// Reference kernel: rmsNorm over the last axis.

import type { RmsNormOp } from '@darkroom/core/backend';
import { lastAxisNorm } from './shared/normalize.ts';
import type { View } from './shared/access.ts';

export const rmsNorm = (op: RmsNormOp, args: readonly View[]): void => lastAxisNorm(args, op.eps, false);
