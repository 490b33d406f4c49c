// Devices by name, for the command line. 'auto' takes CUDA, else a hardware GPU through WebGPU, else the CPU. A software
// WebGPU adapter is used only when 'webgpu' is asked for: the CPU backend is several times faster.

import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { webgpu } from '@darkroom/backend-webgpu';
import { ArgumentError, DeviceError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cacheFolder, fileTuneStore } from '@darkroom/core/node';

export const deviceNames = ['auto', 'cpu', 'webgpu', 'cuda'] as const;

/** Opens a device. @throws ArgumentError for a name that is not one of deviceNames. */
export async function openDevice(name: string, given: { threads?: number } = {}): Promise<Device> {
  const tuneStore = fileTuneStore(cacheFolder('tune'));
  const options = { ...given, tuneStore };
  switch (name) {
    case 'auto':
      return (
        (await unlessMissing(() => cuda({ emulator: false }))) ??
        (await unlessMissing(() => webgpu({ software: 'never', tuneStore }))) ??
        cpu(options)
      );
    case 'cpu':
      return cpu(options);
    case 'webgpu':
      return webgpu({ tuneStore });
    case 'cuda':
      return cuda();
    default:
      throw new ArgumentError(`device: must be one of ${deviceNames.join(', ')}, got '${name}'`);
  }
}

async function unlessMissing(open: () => Promise<Device>): Promise<Device | undefined> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof DeviceError) return undefined;
    throw error;
  }
}
