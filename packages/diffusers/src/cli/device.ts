// Devices by name, for the command line. 'auto' takes the best there is: a hardware GPU through WebGPU, else the CPU.
// A software WebGPU adapter is used only when 'webgpu' is asked for: the CPU backend is several times faster.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { ArgumentError, DeviceError } from '@darkroom/core';
import type { Device } from '@darkroom/core';

export const deviceNames = ['auto', 'cpu', 'webgpu'] as const;

/** Opens a device. @throws ArgumentError for a name that is not one of deviceNames. */
export async function openDevice(name: string, options: { threads?: number } = {}): Promise<Device> {
  switch (name) {
    case 'auto':
      try {
        return await webgpu({ software: 'never' });
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
        return cpu(options);
      }
    case 'cpu':
      return cpu(options);
    case 'webgpu':
      return webgpu();
    default:
      throw new ArgumentError(`device: must be one of ${deviceNames.join(', ')}, got '${name}'`);
  }
}
