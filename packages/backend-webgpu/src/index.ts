/// <reference types="@webgpu/types" preserve="true" />
// @darkroom/backend-webgpu: Darkroom on any GPU through WebGPU. `const device = await webgpu()`.

export { webgpu } from './open.ts';
export type { WebGpuOptions } from './open.ts';
export type { AdapterOptions } from './adapter.ts';
export { WebGpuBackend } from './backend.ts';
export { foldWidth } from '@darkroom/gpu-kernels';
