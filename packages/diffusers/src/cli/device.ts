// Devices by name, for the command line. 'auto' takes the best there is: today the CPU.

import { cpu } from '@darkroom/backend-cpu';
import { ArgumentError } from '@darkroom/core';
import type { Device } from '@darkroom/core';

export const deviceNames = ['auto', 'cpu'] as const;

/** Opens a device. @throws ArgumentError for a name that is not one of deviceNames. */
export async function openDevice(name: string, options: { threads?: number } = {}): Promise<Device> {
  switch (name) {
    case 'auto':
    case 'cpu':
      return cpu(options);
    default:
      throw new ArgumentError(`device: must be one of ${deviceNames.join(', ')}, got '${name}'`);
  }
}
