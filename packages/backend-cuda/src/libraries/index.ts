// NVIDIA's libraries as sources of kernels, where they are installed.

import type { Cuda } from '../node/addon.ts';
import type { Library } from '../provider.ts';
import { CublasLtMatmul } from './cublaslt-matmul.ts';
import { CudnnLibrary } from './cudnn-library.ts';

/** Nothing is started before a library is first asked for its choices. */
export function librariesOf({ driver, cublasLt, cudnn }: Cuda): readonly Library[] {
  return [
    ...(cublasLt ? [new CublasLtMatmul(cublasLt)] : []),
    ...(cudnn ? [new CudnnLibrary(cudnn, driver)] : []),
  ];
}

/** Their versions: kept choices are valid for these only. */
export function libraryVersions({ cublasLt, cudnn }: Cuda): readonly string[] {
  return [
    ...(cublasLt ? [`cuBLASLt ${cublasLt.version()}`] : []),
    ...(cudnn ? [`cuDNN ${cudnn.version()}`] : []),
  ];
}
