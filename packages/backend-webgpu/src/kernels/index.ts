// The kernel factory of every op kind. A forgotten kind does not compile.

import type { KernelOp } from '@darkroom/core';
import { attention } from './attention.ts';
import { conv2d } from './conv2d.ts';
import { custom } from './custom.ts';
import { groupNorm } from './group-norm.ts';
import type { KernelFactory } from './kernel.ts';
import { matmul } from './matmul.ts';
import { copy, gather, resize } from './moves.ts';
import { fill, map, random } from './pointwise.ts';
import { layerNorm, reduce, rmsNorm, softmax } from './rows.ts';

const factories: { readonly [K in KernelOp['kind']]: KernelFactory<Extract<KernelOp, { kind: K }>> } = {
  map,
  reduce,
  matmul,
  conv2d,
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
  custom,
};

export function factoryOf(op: KernelOp): KernelFactory<KernelOp> {
  return factories[op.kind] as unknown as KernelFactory<KernelOp>;
}
