// A device that computes nothing and allocates memory in regions, as the CUDA backend does on a GPU. It counts the
// bytes that a GPU would hold, except for kernels' workspaces, which the backend allocates, and rounding by the
// driver's pool.

import { Device, nullBackend } from '@darkroom/core';
import type { Backend, Buffer } from '@darkroom/core/backend';
import { CachingAllocator } from '@darkroom/backend-cuda/testing';

export function plannedDevice(): Device {
  const base = nullBackend({ poolBuffers: false });
  let next = 1 << 20;
  const allocator = new CachingAllocator(
    (bytes) => {
      const address = next;
      next += bytes;
      return address;
    },
    () => {},
    true, // a GPU of today has pools
  );
  const addresses = new Map<Buffer, number>();
  const backend: Backend = {
    ...base,
    name: 'planned',
    caps: {
      ...base.caps,
      convFormat: 'channelsLast',
      fingerprint: "planned: nothing computed, CUDA's regions",
    },
    alloc(bytes) {
      const buffer: Buffer = { bytes };
      addresses.set(buffer, allocator.alloc(bytes));
      return buffer;
    },
    free(buffer) {
      allocator.free(addresses.get(buffer)!);
      addresses.delete(buffer);
    },
    read: async ({ bytes }) => new Uint8Array(bytes),
    reserved: () => allocator.reserved,
    trim: () => allocator.trim(),
  };
  return new Device(backend);
}
