// The reference kernel of every op kind: plain loops in double precision, rounded once on store. The oracle of all
// backends. A forgotten kind does not compile.

import type { KernelOp } from '@darkroom/core';
import { UnsupportedOpError } from '@darkroom/core';
import type { View } from './access.ts';
import { copy, fill, gather, random, resize } from './moves.ts';
import { map } from './pointwise.ts';
import { attention, conv2d, matmul } from './products.ts';
import { groupNorm, layerNorm, reduce, rmsNorm, softmax } from './reductions.ts';
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
