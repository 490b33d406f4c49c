// NVIDIA's libraries as sources of kernels, where they are installed and wanted.

import { ArgumentError } from '@darkroom/core';
import type { FaultLog } from '../fault-log.ts';
import type { Cuda } from '../node/addon.ts';
import type { Library } from '../provider.ts';
import { CublasLtMatmul } from './cublaslt-matmul.ts';
import { CudnnLibrary } from './cudnn-library.ts';
import type { CudnnOptions } from './cudnn-library.ts';

/** A library that may run ops in place of our own kernels. */
export type OptionalLibrary = 'cublasLt' | 'cudnn';
const optional: readonly OptionalLibrary[] = ['cublasLt', 'cudnn'];

/** The libraries that may run ops: all that are found, none (our own kernels alone), or those named. */
export type LibraryNames = 'all' | 'none' | readonly OptionalLibrary[];

/**
 * The names of `wanted`, without it those in DARKROOM_CUDA_LIBRARIES (all, none, or names with commas between), else
 * all.
 * @throws ArgumentError for any other name.
 */
export function namesOf(
  wanted: LibraryNames | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): readonly OptionalLibrary[] {
  const told = env['DARKROOM_CUDA_LIBRARIES'];
  const source = wanted === undefined && told ? 'DARKROOM_CUDA_LIBRARIES' : 'option libraries';
  const given: string | readonly string[] = wanted ?? (told || 'all');
  if (given === 'all') return optional;
  if (given === 'none') return [];
  const names = typeof given === 'string' ? given.split(',').map((n) => n.trim()) : given;
  for (const name of names) {
    if (!(optional as readonly string[]).includes(name))
      throw new ArgumentError(
        `cuda: ${source}: '${name}' is no library; 'all', 'none', or some of ${optional.join(', ')}`,
      );
  }
  return optional.filter((name) => names.includes(name));
}

/** `cuda` with those of its optional libraries that are named. */
export const restrictedTo = (cuda: Cuda, names: readonly OptionalLibrary[]): Cuda => ({
  ...cuda,
  cublasLt: names.includes('cublasLt') ? cuda.cublasLt : undefined,
  cudnn: names.includes('cudnn') ? cuda.cudnn : undefined,
});

/**
 * Nothing is started before a library is first asked for its choices. `plans`: where those of
 * cuDNN are kept and counted, and the kernels that add what it cannot.
 */
export function librariesOf(
  { driver, cublasLt, cudnn }: Cuda,
  faults: FaultLog,
  plans: Pick<CudnnOptions, 'files' | 'counts' | 'own'> = {},
): readonly Library[] {
  return [
    ...(cublasLt ? [new CublasLtMatmul(cublasLt, faults)] : []),
    ...(cudnn ? [new CudnnLibrary(cudnn, driver, { faults, ...plans })] : []),
  ];
}

/** Their versions: kept choices are valid for these only. */
export function libraryVersions({ cublasLt, cudnn }: Cuda): readonly string[] {
  return [
    ...(cublasLt ? [`cuBLASLt ${cublasLt.version()}`] : []),
    ...(cudnn ? [`cuDNN ${cudnn.version()}`] : []),
  ];
}
