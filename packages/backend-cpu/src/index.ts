// @darkroom/backend-cpu: Darkroom on a CPU. `const device = await cpu()`.

export { cpu } from './backend.ts';
export type { CpuOptions } from './backend.ts';
export { registerCpuKernels } from './kernels/index.ts';
export type { CpuKernels, Factory, Reference, Run } from './kernels/kernel.ts';
export type { View } from './reference/shared/access.ts';
