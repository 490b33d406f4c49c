// Buffers of the device, and the staging buffers that bring their contents back to the host.

import type { Buffer } from '@darkroom/core/backend';
import { DeviceError, OutOfMemoryError } from '@darkroom/core';
import type { Faults } from './faults.ts';

export interface GpuMemory extends Buffer {
  readonly gpu: GPUBuffer;
  /** Distinguishes buffers in the keys of bind groups. */
  readonly id: number;
  /** Serial of the last batch of commands that uses it. */
  usedIn: number;
}

export class Memory {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #live = new Set<Buffer>();
  /** Free staging buffers by size. */
  readonly #staging = new Map<number, GPUBuffer[]>();
  #nextId = 0;

  constructor(device: GPUDevice, faults: Faults) {
    this.#device = device;
    this.#faults = faults;
  }

  /** @throws OutOfMemoryError at once for what no buffer of this device can hold; later for what did not fit. */
  alloc(bytes: number, label = 'tensor'): GpuMemory {
    const { maxBufferSize } = this.#device.limits;
    if (bytes > maxBufferSize) {
      throw new OutOfMemoryError(
        `webgpu: ${bytes} bytes asked for, one buffer holds at most ${maxBufferSize}`,
      );
    }
    const gpu = this.#faults.watch(
      this.#device,
      'out-of-memory',
      () =>
        this.#device.createBuffer({
          label: `${label} of ${bytes} bytes`,
          size: Math.ceil(bytes / 256) * 256,
          usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
        }),
      (message) => new OutOfMemoryError(`webgpu: no room for ${bytes} bytes: ${message}`),
    );
    const memory: GpuMemory = { bytes, gpu, id: this.#nextId++, usedIn: -1 };
    this.#live.add(memory);
    return memory;
  }

  free(buffer: GpuMemory): void {
    if (!this.#live.delete(buffer)) throw new DeviceError('webgpu: buffer freed twice');
    buffer.gpu.destroy();
  }

  /** A mappable buffer of at least `bytes`; give it back with `recycle`. */
  staging(bytes: number): GPUBuffer {
    const size = Math.max(4096, 2 ** Math.ceil(Math.log2(bytes)));
    return (
      this.#staging.get(size)?.pop() ??
      this.#device.createBuffer({
        label: 'readback',
        size,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      })
    );
  }

  /** Keeps at most two of a size, and none of the large ones: a picture is read often, a model once. */
  recycle(buffer: GPUBuffer): void {
    const list = this.#staging.get(buffer.size) ?? [];
    if (list.length >= 2 || buffer.size > 2 ** 26) buffer.destroy();
    else this.#staging.set(buffer.size, [...list, buffer]);
  }
}
