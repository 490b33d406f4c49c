// @darkroom/gpu-kernels: the kernels of every op as text, for the GPU backends. Nothing here compiles or runs: a backend
// puts the parts into its dialect (WGSL as they stand, CUDA C++ after a rewrite), compiles and dispatches them. A backend
// may put kernels of its own before the shared ones: a KernelFactory that asks the shared one for the rest.

export { attention } from './kernels/attention.ts';
export { conv2d, conv2dSize, tiledConv2d } from './kernels/conv2d.ts';
export { factoryOf, registerGpuKernels } from './kernels/index.ts';
export type { SharedOp } from './kernels/index.ts';
export { flatThreads, groupsFor } from './kernels/kernel.ts';
export type { KernelFactory, KernelSpec } from './kernels/kernel.ts';
export { matmul, matmulSize, tiledMatmul } from './kernels/matmul.ts';
export { attentionProblem } from './kernels/shared/attention-problem.ts';
export type { AttentionProblem } from './kernels/shared/attention-problem.ts';
export { convResult, pixelRows } from './kernels/shared/conv2d-result.ts';
export { broadcastStrides, collapse } from './kernels/shared/dimensions.ts';
export type { Dimensions } from './kernels/shared/dimensions.ts';
export { flatBody } from './kernels/shared/flat.ts';
export { resultStore } from './kernels/shared/epilogue.ts';
export type { ResultPlace } from './kernels/shared/epilogue.ts';
export { cellsOfA, cellsOfB, loader } from './kernels/shared/product-loader.ts';
export type { Cells, Operand } from './kernels/shared/product-loader.ts';
export type { Product, ProductBody } from './kernels/shared/product.ts';
export type { ProductSize, Tile } from './kernels/shared/tiles.ts';
export { ScratchBuffers } from './launch/scratch.ts';
export type { ScratchSource } from './launch/scratch.ts';
export { KernelVariants, startsAtUnits } from './launch/variants.ts';
export type { Access, BufferText, Width } from './text/access.ts';
export { fillParams, foldWidth, gridOf, piecesOf } from './text/dispatch.ts';
export type { Binding, Dispatch, KernelDispatch, KernelText, Traits } from './text/dispatch.ts';
export { Shader } from './text/shader.ts';
