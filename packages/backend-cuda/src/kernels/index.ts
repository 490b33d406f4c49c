// The kernel factory of every op kind on CUDA: the shared ones, and this backend's own for what runs on tensor cores.

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

/** The kernels of an op. */
export function factoryOf(op: SharedOp): KernelFactory<SharedOp, CudaTraits> {
  return (own[op.kind] as KernelFactory<SharedOp, CudaTraits> | undefined) ?? sharedFactoryOf(op);
}
