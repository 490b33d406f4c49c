// A device that computes nothing and holds memory as the CUDA backend does on a GPU: in regions. What it counts is what
// a GPU would hold, but for the workspaces of kernels, which are the backend's own, and what the driver's pool takes in
// larger units.

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
