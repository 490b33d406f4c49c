// fill: one value at every element.

import type { FillOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { elementwise } from './shared/elementwise.ts';

export const fill: KernelFactory<FillOp> = {
  choices: () => ['wgsl'],
  prepare: (_, args, __, traits, wide) => elementwise(['scalar', 0], args, traits, wide, 'fill/wgsl'),
};
