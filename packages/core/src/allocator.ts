// The caching allocator over a backend: freed buffers are kept for requests of about their size (where the backend says
// that allocation is costly), with exact accounting and one retry when memory runs out.

import type { Backend, Buffer } from './backend.ts';
import { OutOfMemoryError } from './errors.ts';

/** Bytes: held by tensors, held for reuse, and the highest live value, and live plus cached, since the last reset. */
export interface MemoryStats {
  readonly live: number;
  readonly cached: number;
  readonly peak: number;
  readonly peakReserved: number;
}

/** Sizes are rounded up to this, so that near-equal requests share buffers. */
const granule = 256;
/** A kept buffer serves requests of at least this part of its size; the rest of it counts as cached. */
const leastUse = 0.75;
/** Bytes that may always be kept; beyond them, as much as tensors held at most. */
const freelyKept = 32 << 20;

/** A buffer of the backend's: `size` bytes, of which a tensor uses `used`. */
interface Held {
  readonly buffer: Buffer;
  readonly size: number;
  /** Counts buffers as they are made. */
  readonly id: number;
  used: number;
}

/** Memory of one backend for core: pooled where allocating is costly, counted exactly. */
export class Allocator {
  readonly #backend: Backend;
  /**
   * Buffers kept for reuse: by size, equal ones by age, so that work done again from the same state gets the same
   * buffers, whatever the order in which they came back; and, in `#oldest`, by when they were freed.
   */
  readonly #kept: Held[] = [];
  readonly #oldest = new Set<Held>();
  readonly #inUse = new Map<Buffer, Held>();
  #made = 0;
  #live = 0;
  #held = 0;
  #peak = 0;
  #peakReserved = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  get stats(): MemoryStats {
    const cached = this.#reserved() - this.#live;
    return { live: this.#live, cached, peak: this.#peak, peakReserved: this.#peakReserved };
  }

  resetPeak(): void {
    this.#peak = this.#live;
    this.#peakReserved = this.#reserved();
  }

  /** Bytes taken from the system, by the backend's count where it keeps a pool. */
  #reserved(): number {
    return this.#backend.reserved?.() ?? this.#held;
  }

  /** Memory of at least `bytes`, contents undefined. */
  alloc(bytes: number): Buffer {
    const used = Math.max(granule, Math.ceil(bytes / granule) * granule);
    const held = this.#reuse(used) ?? this.#allocate(used);
    held.used = used;
    this.#inUse.set(held.buffer, held);
    this.#live += used;
    this.#peak = Math.max(this.#peak, this.#live);
    this.#peakReserved = Math.max(this.#peakReserved, this.#reserved());
    return held.buffer;
  }

  /** The smallest kept buffer that fits without wasting much. */
  #reuse(bytes: number): Held | undefined {
    const at = this.#position(bytes);
    const held = this.#kept[at];
    if (!held || held.size * leastUse > bytes) return undefined;
    this.#kept.splice(at, 1);
    this.#oldest.delete(held);
    return held;
  }

  /**
   * Index in `#kept` of the first buffer of at least `bytes`; among buffers of equal size, of the first from `id` on.
   */
  #position(bytes: number, id = 0): number {
    let [low, high] = [0, this.#kept.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { size, id: other } = this.#kept[middle]!;
      if (size < bytes || (size === bytes && other < id)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #allocate(size: number): Held {
    const make = (): Held => {
      const buffer = this.#backend.alloc(size);
      this.#held += size;
      return { buffer, size, id: this.#made++, used: size };
    };
    try {
      return make();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      const dropped = this.stats.cached;
      this.dropCache();
      try {
        return make();
      } catch (again) {
        if (!(again instanceof OutOfMemoryError)) throw again;
        throw new OutOfMemoryError(
          `${again.message}; ${this.#table()} (cache of ${dropped} bytes dropped first)`,
        );
      }
    }
  }

  #table(): string {
    const largest = [...this.#inUse.values()].map((held) => held.used).sort((a, b) => b - a).slice(0, 10); // prettier-ignore
    return `live ${this.#live} bytes in ${this.#inUse.size} buffers, the largest: ${largest.join(', ')}`;
  }

  free(buffer: Buffer): void {
    const held = this.#inUse.get(buffer)!;
    this.#inUse.delete(buffer);
    this.#live -= held.used;
    if (!this.#backend.caps.poolBuffers) return this.#giveBack(held);
    this.#kept.splice(this.#position(held.size, held.id), 0, held);
    this.#oldest.add(held);
    const most = Math.max(freelyKept, this.#peak);
    for (const old of this.#oldest) {
      if (this.#held - this.#live <= most) break;
      this.#drop(old);
    }
  }

  #drop(held: Held): void {
    this.#oldest.delete(held);
    this.#kept.splice(this.#kept.indexOf(held), 1);
    this.#giveBack(held);
  }
  #giveBack(held: Held): void {
    this.#held -= held.size;
    this.#backend.free(held.buffer);
  }

  /** Returns every kept buffer to the backend. */
  dropCache(): void {
    for (const held of this.#kept) this.#giveBack(held);
    this.#kept.length = 0;
    this.#oldest.clear();
    this.#backend.trim?.();
  }
}
