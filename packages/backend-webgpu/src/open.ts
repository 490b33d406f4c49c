// webgpu(): the device that users open.

import { Device } from '@darkroom/core';
import type { DeviceOptions } from '@darkroom/core';
import { openAdapter } from './adapter.ts';
import type { AdapterOptions } from './adapter.ts';
import { WebGpuBackend } from './backend.ts';
import type { Traits } from '@darkroom/gpu-kernels';

/** Options of webgpu(). */
export interface WebGpuOptions extends AdapterOptions, DeviceOptions {
  /**
   * Pretends that the device has less than it has: no native float16, or bindings of at most `bindingBytes` (a multiple of
   * 256). For tests of the paths that other devices take.
   */
  readonly restrict?: Partial<Pick<Traits, 'natives' | 'bindingBytes' | 'bindings' | 'unroll'>>;
}

/**
 * Opens a GPU through WebGPU: Dawn in Node, the browser's own in a page or worker. Each call is a device of its own.
 * @throws DeviceError when there is no adapter, saying what to install.
 */
export async function webgpu(options: WebGpuOptions = {}): Promise<Device> {
  const opened = await openAdapter(options);
  const traits = { ...opened.traits, ...options.restrict };
  const device = new Device(new WebGpuBackend({ ...opened, traits }), options);
  await device.tuner.load();
  return device;
}
