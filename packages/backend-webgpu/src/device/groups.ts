// Bind groups by layout and buffers. A pool gives the same buffers to the same kernels again, so that a denoising step
// makes none. A group goes when a buffer of it does.

import type { GpuMemory } from './memory.ts';
import type { Program } from './programs.ts';

/** One storage binding: `bytes` of a buffer from `offset`. */
export interface Window {
  readonly memory: GpuMemory;
  readonly offset: number;
  readonly bytes: number;
}

export class Groups {
  readonly #device: GPUDevice;
  readonly #ring: GPUBuffer;
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #keysOf = new Map<GpuMemory, Set<string>>();

  constructor(device: GPUDevice, ring: GPUBuffer) {
    this.#device = device;
    this.#ring = ring;
  }

  /** `parameterBytes`: the window of the ring that dispatches move by their dynamic offset. */
  of(program: Program, parameterBytes: number, windows: readonly Window[]): GPUBindGroup {
    let key = `${program.source.signature}${parameterBytes}`;
    for (const w of windows) key += `,${w.memory.id}:${w.offset}:${w.bytes}`;
    let group = this.#groups.get(key);
    if (!group) {
      group = bindGroup(this.#device, program, { buffer: this.#ring, size: parameterBytes }, windows);
      this.#groups.set(key, group);
      for (const { memory } of windows) {
        const keys = this.#keysOf.get(memory);
        if (keys) keys.add(key);
        else this.#keysOf.set(memory, new Set([key]));
      }
    }
    return group;
  }

  /** Forgets the groups of a buffer that is about to be destroyed. */
  drop(memory: GpuMemory): void {
    for (const key of this.#keysOf.get(memory) ?? []) this.#groups.delete(key);
    this.#keysOf.delete(memory);
  }
}

/** `parameters`: a window that dispatches move by their dynamic offset. */
export function bindGroup(
  device: GPUDevice,
  { layout }: Program,
  parameters: GPUBufferBinding,
  windows: readonly Window[],
): GPUBindGroup {
  const storage = windows.map(({ memory, offset, bytes }, i): GPUBindGroupEntry => ({
    binding: i + 1,
    resource: { buffer: memory.gpu, offset, size: bytes },
  }));
  return device.createBindGroup({ layout, entries: [{ binding: 0, resource: parameters }, ...storage] });
}
