// Memory blocks in one growing WebAssembly memory: best fit over a sorted free list, neighbours merged on free.

/** Every block starts at a multiple of this: a cache line, and enough for any vector load. */
export const alignment = 64;

interface FreeBlock {
  start: number;
  size: number;
}

const up = (n: number): number => Math.max(alignment, Math.ceil(n / alignment) * alignment);

export class Heap {
  readonly #free: FreeBlock[] = []; // by start
  readonly #sizes = new Map<number, number>();
  readonly #limit: number;
  readonly #grow: (bytes: number) => boolean;
  #end: number;

  /** Manages [start, limit); `grow` makes memory up to a byte count usable and returns false where it cannot. */
  constructor(start: number, limit: number, grow: (end: number) => boolean) {
    this.#end = up(start);
    this.#limit = limit;
    this.#grow = grow;
  }

  /** Start of a block of at least `bytes`, or undefined when there is no room. */
  alloc(bytes: number): number | undefined {
    const size = up(bytes);
    let best = -1;
    for (const [i, block] of this.#free.entries()) {
      if (block.size >= size && (best < 0 || block.size < this.#free[best]!.size)) best = i;
    }
    if (best >= 0) {
      const block = this.#free[best]!;
      const { start } = block;
      if (block.size === size) this.#free.splice(best, 1);
      else {
        block.start += size;
        block.size -= size;
      }
      this.#sizes.set(start, size);
      return start;
    }
    return this.#extend(size);
  }

  /** Room at the end: the last free block may be part of it. */
  #extend(size: number): number | undefined {
    const last = this.#free.at(-1);
    const joins = last !== undefined && last.start + last.size === this.#end;
    const start = joins ? last.start : this.#end;
    if (start + size > this.#limit || !this.#grow(start + size)) return undefined;
    if (joins) this.#free.pop();
    this.#end = start + size;
    this.#sizes.set(start, size);
    return start;
  }

  /** @throws RangeError for a start that is not a live block (freed twice, or never allocated). */
  free(start: number): void {
    const size = this.#sizes.get(start);
    if (size === undefined) throw new RangeError(`internal: heap block ${start} is not live`);
    this.#sizes.delete(start);
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.#free[mid]!.start < start) low = mid + 1;
      else high = mid;
    }
    const [before, after] = [this.#free[low - 1], this.#free[low]];
    const joinsBefore = before !== undefined && before.start + before.size === start;
    const joinsAfter = after !== undefined && start + size === after.start;
    if (joinsBefore) {
      before.size += size + (joinsAfter ? after.size : 0);
      if (joinsAfter) this.#free.splice(low, 1);
    } else if (joinsAfter) {
      after.start = start;
      after.size += size;
    } else this.#free.splice(low, 0, { start, size });
  }
}
