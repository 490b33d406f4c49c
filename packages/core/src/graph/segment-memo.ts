// Results of a segment by the numbers that it reads. A segment that reads single numbers only (the timestep: its
// embedding, and the projections of that in every block) gives the same results for the same numbers while the weights
// stay, and all pictures of a schedule have the same timesteps: each is computed once, and copied later.

import '../dispose-symbol.ts';
import type { Slice } from '../backend.ts';
import type { Device } from '../device.ts';
import { OutOfMemoryError } from '../errors.ts';
import { Storage } from '../storage.ts';

/** Bytes that the results of one segment may take; the oldest go first. SD 1.5's take 80 KB a timestep in float32. */
const mostBytes = 16 << 20;

/** The results of one segment by the numbers that it read. */
export class SegmentMemo {
  readonly #device: Device;
  readonly #results: readonly Slice[];
  readonly #kept = new Map<string, readonly Storage[]>();
  readonly #most: number;

  /** `results`: slices that the segment writes and others read. */
  constructor(device: Device, results: readonly Slice[]) {
    this.#device = device;
    this.#results = results;
    this.#most = Math.floor(mostBytes / results.reduce((sum, { bytes }) => sum + bytes, 1));
  }

  /** Copies the kept results for these numbers to their slices; false when none are kept. */
  recall(numbers: readonly number[]): boolean {
    const kept = this.#kept.get(keyOf(numbers));
    for (const [i, { buffer, bytes }] of (kept ?? []).entries())
      this.#device.backend.copy(this.#results[i]!, { buffer, offset: 0, bytes });
    return kept !== undefined;
  }

  /** Keeps copies of the results, which the segment has just computed for these numbers. */
  keep(numbers: readonly number[]): void {
    if (this.#most === 0) return;
    if (this.#kept.size >= this.#most) this.#drop(this.#kept.keys().next().value!);
    const device = this.#device;
    const kept: Storage[] = [];
    try {
      for (const { bytes } of this.#results) kept.push(new Storage(device, bytes, device.allocate(bytes)));
    } catch (error) {
      for (const storage of kept) storage.release();
      if (error instanceof OutOfMemoryError) return; // it is computed again
      throw error;
    }
    for (const [i, { buffer, bytes }] of kept.entries())
      device.backend.copy({ buffer, offset: 0, bytes }, this.#results[i]!);
    this.#kept.set(keyOf(numbers), kept);
  }

  #drop(key: string): void {
    for (const storage of this.#kept.get(key)!) storage.release();
    this.#kept.delete(key);
  }

  [Symbol.dispose](): void {
    for (const key of [...this.#kept.keys()]) this.#drop(key);
  }
}

/** A key of numbers in which -0 differs from 0. */
const keyOf = (numbers: readonly number[]): string =>
  numbers.map((v) => (Object.is(v, -0) ? '-0' : String(v))).join();
