// @darkroom/backend-cuda: Darkroom on NVIDIA GPUs.

export { diagnose, openCuda } from './node/addon.ts';
export type { Cuda, Diagnosis, LibraryReport } from './node/addon.ts';
export { CudnnDescriptor } from './node/cudnn.ts';
export type { LibraryNames, OptionalLibrary } from './libraries/index.ts';
export type { LibraryName, SearchOptions } from './node/libraries.ts';
export { cuda, openDevice } from './open.ts';
export type { CudaOptions } from './open.ts';
export { CudaBackend } from './backend.ts';
export type { CudaFault } from './fault-log.ts';
