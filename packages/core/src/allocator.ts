// The caching allocator over a backend: freed buffers of a size are kept for the next request of that size
// (where the backend says allocation is costly), with exact accounting and one retry when memory runs out.

import type { Backend, Buffer } from './backend.ts';
import { OutOfMemoryError } from './errors.ts';

/** Bytes: held by tensors, held for reuse, and the highest live value, and live plus cached, since the last reset. */
export interface MemoryStats {
  readonly live: number;
  readonly cached: number;
  readonly peak: number;
  readonly peakReserved: number;
}

/** Sizes are rounded up to this, so that near-equal requests share a free list. */
const granule = 256;

export class Allocator {
  readonly #backend: Backend;
  readonly #free = new Map<number, Buffer[]>();
  readonly #sizes = new Map<Buffer, number>();
  #live = 0;
  #cached = 0;
  #peak = 0;
  #peakReserved = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  get stats(): MemoryStats {
    return { live: this.#live, cached: this.#cached, peak: this.#peak, peakReserved: this.#peakReserved };
  }

  resetPeak(): void {
    this.#peak = this.#live;
    this.#peakReserved = this.#live + this.#cached;
  }

  /** Memory of at least `bytes`, contents undefined. */
  alloc(bytes: number): Buffer {
    const size = Math.max(granule, Math.ceil(bytes / granule) * granule);
    const kept = this.#free.get(size)?.pop();
    if (kept) this.#cached -= size;
    const buffer = kept ?? this.#allocate(size);
    this.#sizes.set(buffer, size);
    this.#live += size;
    this.#peak = Math.max(this.#peak, this.#live);
    this.#peakReserved = Math.max(this.#peakReserved, this.#live + this.#cached);
    return buffer;
  }

  #allocate(size: number): Buffer {
    try {
      return this.#backend.alloc(size);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      const dropped = this.#cached;
      this.dropCache();
      try {
        return this.#backend.alloc(size);
      } catch (again) {
        if (!(again instanceof OutOfMemoryError)) throw again;
        throw new OutOfMemoryError(
          `${again.message}; ${this.#table()} (cache of ${dropped} bytes dropped first)`,
        );
      }
    }
  }

  #table(): string {
    const largest = [...this.#sizes.values()].sort((a, b) => b - a).slice(0, 10);
    return `live ${this.#live} bytes in ${this.#sizes.size} buffers, the largest: ${largest.join(', ')}`;
  }

  free(buffer: Buffer): void {
    const size = this.#sizes.get(buffer)!;
    this.#sizes.delete(buffer);
    this.#live -= size;
    if (!this.#backend.caps.poolBuffers) {
      this.#backend.free(buffer);
      return;
    }
    this.#cached += size;
    const list = this.#free.get(size);
    if (list) list.push(buffer);
    else this.#free.set(size, [buffer]);
  }

  /** Returns every kept buffer to the backend. */
  dropCache(): void {
    for (const list of this.#free.values()) for (const buffer of list) this.#backend.free(buffer);
    this.#free.clear();
    this.#cached = 0;
  }
}
