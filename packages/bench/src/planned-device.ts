// A device that computes nothing and holds memory as the CUDA backend does on a GPU: in segments. What it counts is what
// a GPU would hold, but for the workspaces of kernels, which are the backend's own, and what the driver's pool takes in
// larger units.

import { Device, nullBackend } from '@darkroom/core';
import type { Backend, Buffer } from '@darkroom/core';
import { Segments } from '@darkroom/backend-cuda/testing';

export function plannedDevice(): Device {
  const base = nullBackend({ poolBuffers: false });
  let next = 1 << 20;
  const segments = new Segments(
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
      fingerprint: "planned: nothing computed, CUDA's segments",
    },
    alloc(bytes) {
      const buffer: Buffer = { bytes };
      addresses.set(buffer, segments.alloc(bytes));
      return buffer;
    },
    free(buffer) {
      segments.free(addresses.get(buffer)!);
      addresses.delete(buffer);
    },
    read: async ({ bytes }) => new Uint8Array(bytes),
    reserved: () => segments.reserved,
    trim: () => segments.trim(),
  };
  return new Device(backend);
}
