// Traits of a GPU that kernels depend on, from its attributes.

import type { DType } from '@darkroom/core';
import type { Traits } from '@darkroom/gpu-kernels';

/** Traits of CUDA devices, beyond those of the shared kernels. */
export interface CudaTraits extends Traits {
  /** Dtypes that the tensor cores multiply (float32: as tf32). */
  readonly tensorCores: ReadonlySet<DType>;
  /** Bytes of workgroup memory that a launch may ask for. */
  readonly poolBytes: number;
  /** Workgroups that run at once, at least: the GPU's multiprocessors. */
  readonly processors: number;
}

const natives: ReadonlySet<DType> = new Set<DType>(['float16', 'bfloat16', 'uint8', 'bool']);

/** `architecture` as 90 for sm_90; bytes and threads are those of one block. */
export function traitsOf(gpu: {
  readonly architecture: number;
  readonly sharedBytes: number;
  /** Bytes of shared memory of a block that asks for more than the usual limit. */
  readonly mostSharedBytes: number;
  readonly processors: number;
  readonly threads: number;
  readonly emulated: boolean;
}): CudaTraits {
  return {
    natives,
    bindingBytes: 2 ** 40, // pointers have no such limit
    bindings: 64,
    workgroupBytes: gpu.sharedBytes,
    invocations: gpu.threads,
    tensorCores: new Set<DType>(
      gpu.architecture >= 80 ? ['float16', 'bfloat16', 'float32'] : gpu.architecture >= 75 ? ['float16'] : [],
    ),
    poolBytes: gpu.mostSharedBytes,
    processors: gpu.processors,
    unroll: !gpu.emulated,
    shuffles: true,
  };
}
