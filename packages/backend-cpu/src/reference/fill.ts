// Reference kernel: fill.

import type { FillOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function fill(_: FillOp, args: readonly View[], [value]: readonly number[]): void {
  const out = args[0]!;
  forEachIndex(out.shape, (index) => out.set(at(out.strides, index), value!));
}
