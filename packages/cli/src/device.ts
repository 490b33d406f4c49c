// Devices by name, for the command line. 'auto' takes CUDA, else a hardware GPU through WebGPU, else the CPU. A
// software WebGPU adapter is used only when 'webgpu' is asked for: the CPU backend is several times faster.

import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { webgpu } from '@darkroom/backend-webgpu';
import { ArgumentError, DeviceError } from '@darkroom/core';
import type { Device, DeviceOptions } from '@darkroom/core';
import { cacheFolder, fileTuneStore } from '@darkroom/core/node';

/** The names that openDevice takes. */
export const deviceNames = ['auto', 'cpu', 'webgpu', 'cuda'] as const;

/** Options of a device, whichever it is; those of the CPU have no effect on others. */
export interface OpenOptions extends DeviceOptions {
  /** Threads of the CPU device. */
  readonly threads?: number;
}

/** Opens a device. @throws ArgumentError for a name that is not one of deviceNames. */
export async function openDevice(name: string, given: OpenOptions = {}): Promise<Device> {
  const options = { tuneStore: fileTuneStore(cacheFolder('tune')), ...given };
  switch (name) {
    case 'auto':
      return (
        (await unlessMissing(() => cuda({ ...options, emulator: false }))) ??
        (await unlessMissing(() => webgpu({ ...options, software: 'never' }))) ??
        cpu(options)
      );
    case 'cpu':
      return cpu(options);
    case 'webgpu':
      return webgpu(options);
    case 'cuda':
      return cuda(options);
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
