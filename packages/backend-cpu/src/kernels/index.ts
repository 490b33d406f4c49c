// The kernels of every op kind but custom, which has none here. A forgotten kind does not compile. conv2d itself goes by
// Winograd where that pays, so the op of that name has its reference only.

import { OpTable } from '@darkroom/core/backend';
import type { AnyOp, KernelOp } from '@darkroom/core/backend';
import { attention } from '../reference/attention.ts';
import { conv2d } from '../reference/conv2d.ts';
import { copy } from '../reference/copy.ts';
import { fill } from '../reference/fill.ts';
import { gather } from '../reference/gather.ts';
import { groupNorm } from '../reference/group-norm.ts';
import { layerNorm } from '../reference/layer-norm.ts';
import { map } from '../reference/map.ts';
import { matmul } from '../reference/matmul.ts';
import { random } from '../reference/random.ts';
import { reduce } from '../reference/reduce.ts';
import { resize } from '../reference/resize.ts';
import { rmsNorm } from '../reference/rms-norm.ts';
import { softmax } from '../reference/softmax.ts';
import { winograd } from '../reference/winograd.ts';
import { attentionFactory } from './attention.ts';
import { conv2dFactory } from './conv2d.ts';
import { copyFactory } from './copy.ts';
import { fillFactory } from './fill.ts';
import { gatherFactory } from './gather.ts';
import { groupNormFactory } from './group-norm.ts';
import type { CpuKernels } from './kernel.ts';
import { layerNormFactory } from './layer-norm.ts';
import { mapFactory } from './map.ts';
import { matmulFactory } from './matmul.ts';
import { reduceFactory } from './reduce.ts';
import { resizeFactory } from './resize.ts';
import { rmsNormFactory } from './rms-norm.ts';
import { softmaxFactory } from './softmax.ts';

type BuiltIn = Exclude<KernelOp, { kind: 'custom' }>;

const builtIn: { readonly [K in BuiltIn['kind']]: CpuKernels<Extract<BuiltIn, { kind: K }>> } = {
  map: { reference: map, fast: mapFactory },
  reduce: { reference: reduce, fast: reduceFactory },
  matmul: { reference: matmul, fast: matmulFactory },
  conv2d: { reference: conv2d, fast: conv2dFactory },
  winograd: { reference: winograd },
  attention: { reference: attention, fast: attentionFactory },
  softmax: { reference: softmax, fast: softmaxFactory },
  groupNorm: { reference: groupNorm, fast: groupNormFactory },
  layerNorm: { reference: layerNorm, fast: layerNormFactory },
  rmsNorm: { reference: rmsNorm, fast: rmsNormFactory },
  gather: { reference: gather, fast: gatherFactory },
  copy: { reference: copy, fast: copyFactory },
  fill: { reference: fill, fast: fillFactory },
  resize: { reference: resize, fast: resizeFactory },
  random: { reference: random },
};

const kernels = new OpTable<CpuKernels>('backend-cpu', builtIn as unknown as Record<string, CpuKernels>);

/** The kernels of an op; undefined where core must decompose it. */
export const kernelsOf = (op: AnyOp): CpuKernels | undefined => kernels.get(op.kind);

/** Gives every CPU device the kernels of a registered op kind. @throws ArgumentError when the kind has others. */
export function registerCpuKernels<O extends AnyOp>(kind: O['kind'], own: CpuKernels<O>): void {
  kernels.register(kind, own as unknown as CpuKernels);
}
