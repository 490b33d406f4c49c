// @darkroom/backend-cpu: Darkroom on a CPU. `const device = await cpu()`.

export { cpu } from './backend.ts';
export type { CpuOptions } from './backend.ts';
