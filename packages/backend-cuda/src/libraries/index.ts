// NVIDIA's libraries as sources of kernels, where they are installed.

import type { Cuda } from '../node/addon.ts';
import type { Library } from '../provider.ts';
import { CublasLtMatmul } from './cublaslt-matmul.ts';

/** Nothing is started before a library is first asked for its choices. */
export function librariesOf({ cublasLt }: Cuda): readonly Library[] {
  return [...(cublasLt ? [new CublasLtMatmul(cublasLt)] : [])];
}
