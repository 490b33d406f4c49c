// Device memory in the order of a stream where the device has memory pools, else by the plain calls, which wait.

import { isOutOfMemory } from './addon.ts';
import type { Address, Driver, Stream } from './native.ts';
import { deviceAttribute, poolAttribute } from './native.ts';

export interface DeviceMemory {
  /** The stream that orders allocations and frees; undefined: a free waits for the device. */
  readonly ordered: boolean;
  alloc(bytes: number, stream: Stream): Address;
  free(address: Address, stream: Stream): void;
  /** Gives unused memory of the pool back to the system. */
  trim(): void;
  /** Bytes that the pool took from the system; undefined without a pool. */
  reserved(): number | undefined;
}

export function deviceMemory(driver: Driver, device: number): DeviceMemory {
  if (driver.deviceAttribute(device, deviceAttribute.memoryPools) !== 1) {
    return {
      ordered: false,
      alloc: (bytes) => driver.alloc(bytes),
      free: (address) => driver.free(address),
      trim: () => {},
      reserved: () => undefined,
    };
  }
  // By default the pool gives all back whenever the stream is waited for, and asks the system again after that.
  driver.poolSet(device, poolAttribute.releaseThreshold, Number.MAX_SAFE_INTEGER);
  const trim = (): void => driver.poolTrim(device, 0);
  return {
    ordered: true,
    alloc(bytes, stream) {
      try {
        return driver.allocAsync(bytes, stream);
      } catch (error) {
        if (!isOutOfMemory(error)) throw error;
        // Freed memory may still be in use by the stream, or be in pieces that do not join.
        driver.streamSynchronize(stream);
        trim();
        return driver.allocAsync(bytes, stream);
      }
    },
    free: (address, stream) => driver.freeAsync(address, stream),
    trim,
    reserved: () => driver.poolGet(device, poolAttribute.reserved),
  };
}
