// Devices by name, for the command line. 'auto' takes CUDA, else a hardware GPU through WebGPU, else the CPU. A
// software WebGPU adapter is used only when 'webgpu' is asked for: the CPU backend is several times faster.

import { cpu } from '@darkroom/backend-cpu';
import type * as CudaPackage from '@darkroom/backend-cuda';
import type * as WebgpuPackage from '@darkroom/backend-webgpu';
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
        (await unlessMissing(async () => (await cudaPackage()).cuda({ ...options, emulator: false }))) ??
        (await unlessMissing(async () =>
          (await webgpuPackage()).webgpu({ ...options, software: 'never' }),
        )) ??
        cpu(options)
      );
    case 'cpu':
      return cpu(options);
    case 'webgpu':
      return (await webgpuPackage()).webgpu(options);
    case 'cuda':
      return (await cudaPackage()).cuda(options);
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

/** Installed beside the command where a GPU is wanted. @throws DeviceError with the command that installs it */
export async function webgpuPackage(): Promise<typeof WebgpuPackage> {
  return installed('webgpu', '@darkroom/backend-webgpu webgpu', () => import('@darkroom/backend-webgpu'));
}

/** Installed beside the command where an NVIDIA GPU is wanted. @throws DeviceError with the command that installs it */
export async function cudaPackage(): Promise<typeof CudaPackage> {
  return installed('cuda', '@darkroom/backend-cuda', () => import('@darkroom/backend-cuda'));
}

async function installed<T>(device: string, packages: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    const [name] = packages.split(' ');
    throw new DeviceError(`${device}: the package ${name} is not installed: npm install ${packages}`);
  }
}
