// The reference kernel of every op kind: plain loops in double precision, rounded once on store. The oracle of all
// backends. A forgotten kind does not compile.

import type { KernelOp } from '@darkroom/core';
import { UnsupportedOpError } from '@darkroom/core';
import { attention } from './attention.ts';
import { conv2d } from './conv2d.ts';
import { copy } from './copy.ts';
import { fill } from './fill.ts';
import { gather } from './gather.ts';
import { groupNorm } from './group-norm.ts';
import { layerNorm } from './layer-norm.ts';
import { map } from './map.ts';
import { matmul } from './matmul.ts';
import { random } from './random.ts';
import { reduce } from './reduce.ts';
import { resize } from './resize.ts';
import { rmsNorm } from './rms-norm.ts';
import type { View } from './shared/access.ts';
import { softmax } from './softmax.ts';
import { winograd } from './winograd.ts';

/** Arguments are the inputs, then the output; scalars are opScalars(op). */
type Reference<O> = (op: O, args: readonly View[], scalars: readonly number[]) => void;

const references: { readonly [K in KernelOp['kind']]: Reference<Extract<KernelOp, { kind: K }>> } = {
  map,
  reduce,
  matmul,
  conv2d,
  winograd,
  attention,
  softmax,
  groupNorm,
  layerNorm,
  rmsNorm,
  gather,
  copy,
  fill,
  resize,
  random,
  custom: (op) => {
    throw new UnsupportedOpError(`custom: '${op.name}' has no source for the CPU`);
  },
};

export function reference(op: KernelOp): Reference<KernelOp> {
  return references[op.kind] as unknown as Reference<KernelOp>;
}
