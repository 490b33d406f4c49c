// The kernel factory of every op kind but custom, whose sources are a backend's own. A forgotten kind does not compile.

import type { KernelOp } from '@darkroom/core';
import { attention } from './attention.ts';
import { conv2d } from './conv2d.ts';
import { copy } from './copy.ts';
import { fill } from './fill.ts';
import { gather } from './gather.ts';
import { groupNorm } from './group-norm.ts';
import type { KernelFactory } from './kernel.ts';
import { layerNorm } from './layer-norm.ts';
import { map } from './map.ts';
import { matmul } from './matmul.ts';
import { random } from './random.ts';
import { reduce } from './reduce.ts';
import { resize } from './resize.ts';
import { rmsNorm } from './rms-norm.ts';
import { softmax } from './softmax.ts';
import { winograd } from './winograd.ts';

/** The ops that every GPU backend runs with these kernels. */
export type SharedOp = Exclude<KernelOp, { kind: 'custom' }>;

const factories: { readonly [K in SharedOp['kind']]: KernelFactory<Extract<KernelOp, { kind: K }>> } = {
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
};

/** The shared kernels of an op. */
export function factoryOf(op: SharedOp): KernelFactory<SharedOp> {
  return factories[op.kind] as unknown as KernelFactory<SharedOp>;
}
