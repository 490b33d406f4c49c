// @darkroom/backend-cpu: Darkroom on a CPU. `const device = await cpu()`.

export { cpu, fileTuneStore } from './backend.ts';
export type { CpuOptions } from './backend.ts';
