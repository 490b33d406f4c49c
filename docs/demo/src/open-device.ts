// Opens the device that the page asked for, or says why there is none in words a page can act on.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { DeviceError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import type { DeviceName, Reply } from './protocol.ts';

export type NoDevice = Extract<Reply, { type: 'noDevice' }>;

/** A device; or, for WebGPU only, the reason why this browser has none. Other failures are thrown. */
export async function openDevice(name: DeviceName): Promise<Device | NoDevice> {
  if (name === 'cpu') return cpu();
  if (!globalThis.isSecureContext) {
    // Browsers hide navigator.gpu there; without this the page would send people looking for another browser.
    return {
      type: 'noDevice',
      why: 'insecure',
      message: 'the page was not loaded over https or from localhost',
    };
  }
  if (!navigator.gpu) {
    return { type: 'noDevice', why: 'no api', message: 'navigator.gpu does not exist in this browser' };
  }
  try {
    return await webgpu();
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { type: 'noDevice', why: 'no adapter', message: error.message };
  }
}
