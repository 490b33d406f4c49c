// Work of a device that never ends, and devices on which nothing works any more: both are told in time.

import type { Device } from '@darkroom/core';
import { LostDevice } from './stage.ts';

/** Seconds without a sign of life after which a part of a stage counts as hung. */
export const silence = 15;

/** The same result, if it comes in time; work of the device that never ends leaves the device lost. */
export async function timely<T>(work: Promise<T>, name: string, times = 1): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  // Before the parent, who knows no more than that nothing is heard.
  const seconds = times * (silence - 1);
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LostDevice(`${name}: no answer for ${seconds} s`)), 1000 * seconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error such as an illegal address leaves a device on which every later call fails. @throws LostDevice then. */
export async function requireDevice(device: Device, name: string, why = ''): Promise<void> {
  try {
    const { backend } = device;
    const buffer = backend.alloc(4);
    backend.write({ buffer, offset: 0, bytes: 4 }, Uint8Array.of(1, 2, 3, 4));
    const back = await timely(backend.read({ buffer, offset: 0, bytes: 4 }), name);
    backend.free(buffer);
    if (back[3] !== 4) throw new Error(`a byte that was written as 4 is read as ${back[3]}`);
  } catch (error) {
    throw new LostDevice(`the device is lost after ${name}: ${why || (error as Error).message}`);
  }
}
