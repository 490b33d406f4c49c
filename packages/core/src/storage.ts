// Storage: one refcounted piece of device memory, shared by the tensors that are views of it.

import type { Buffer, Slice } from './backend.ts';
import type { Device } from './device.ts';

/** Device memory with a count of the tensors that share it. */
export class Storage {
  readonly device: Device;
  readonly bytes: number;
  readonly buffer: Buffer;
  /** Number of in-place writes after the first fill; data derived from the memory is valid for one version. */
  version = 0;
  #references = 1;

  constructor(device: Device, bytes: number, buffer: Buffer) {
    this.device = device;
    this.bytes = bytes;
    this.buffer = buffer;
  }

  /** The whole memory as a slice. */
  get whole(): Slice {
    return { buffer: this.buffer, offset: 0, bytes: this.bytes };
  }

  get references(): number {
    return this.#references;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  /** Drops one reference; the last one returns the memory to the device's allocator. */
  release(): void {
    if (--this.#references === 0) this.device.release(this.buffer);
  }
}
