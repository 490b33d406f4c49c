// The kernel factory of every op kind on CUDA: the shared ones, and this backend's own for what runs on tensor cores.

import type { AnyOp } from '@darkroom/core/backend';
import { factoryOf as sharedFactoryOf } from '@darkroom/gpu-kernels';
import type { KernelFactory, SharedOp } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../traits.ts';
import { attention } from './attention.ts';
import { conv2d } from './conv2d.ts';
import { matmul } from './matmul.ts';

const own: { readonly [K in SharedOp['kind']]?: KernelFactory<Extract<SharedOp, { kind: K }>, CudaTraits> } =
  {
    matmul,
    conv2d,
    attention,
  };

/** The kernels of an op; undefined where core must decompose it. */
export function factoryOf(op: AnyOp): KernelFactory<AnyOp, CudaTraits> | undefined {
  const mine = Object.hasOwn(own, op.kind) ? own[op.kind as keyof typeof own] : undefined;
  return (mine as unknown as KernelFactory<AnyOp, CudaTraits> | undefined) ?? sharedFactoryOf(op);
}
