// The kernel factory of every op kind but custom, whose sources are a backend's own. A forgotten kind does not compile.

import { OpTable } from '@darkroom/core/backend';
import type { AnyOp, KernelOp } from '@darkroom/core/backend';
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

const builtIn: { readonly [K in SharedOp['kind']]: KernelFactory<Extract<KernelOp, { kind: K }>> } = {
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

const factories = new OpTable<KernelFactory<AnyOp>>(
  'gpu-kernels',
  builtIn as unknown as Record<string, KernelFactory<AnyOp>>,
);

/** The kernels of an op; undefined where core must decompose it. */
export const factoryOf = (op: AnyOp): KernelFactory<AnyOp> | undefined => factories.get(op.kind);

/** Gives every GPU backend the kernels of a registered op kind. @throws ArgumentError when the kind has others. */
export function registerGpuKernels<O extends AnyOp>(kind: O['kind'], own: KernelFactory<O>): void {
  factories.register(kind, own as unknown as KernelFactory<AnyOp>);
}
