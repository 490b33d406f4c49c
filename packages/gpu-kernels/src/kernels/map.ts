// map: an expression of the inputs at every element.

import type { MapOp } from '@darkroom/core/backend';
import type { KernelFactory } from './kernel.ts';
import { elementwise } from './shared/elementwise.ts';

export const map: KernelFactory<MapOp> = {
  choices: (_, args, traits) => (args.length > traits.bindings ? [] : ['wgsl']),
  prepare: (op, args, _, traits, wide) => elementwise(op.expr, args, traits, wide, 'map/wgsl'),
};
