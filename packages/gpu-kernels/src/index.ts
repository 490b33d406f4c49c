// @darkroom/gpu-kernels: the kernels of every op as text, for the GPU backends. Nothing here compiles or runs: a backend
// puts the parts into its dialect (WGSL as they stand, CUDA C++ after a rewrite), compiles and dispatches them.

export { collapse } from './kernels/dimensions.ts';
export { factoryOf } from './kernels/index.ts';
export type { SharedOp } from './kernels/index.ts';
export { flatThreads, groupsFor } from './kernels/kernel.ts';
export type { KernelFactory, KernelPlan } from './kernels/kernel.ts';
export type { BufferText } from './text/access.ts';
export { fillParams, foldWidth, piecesOf } from './text/shader.ts';
export type { Binding, Dispatch, KernelText, Pass, Traits } from './text/shader.ts';
