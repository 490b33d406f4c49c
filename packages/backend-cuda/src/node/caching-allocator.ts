// Device memory in regions: few large allocations, cut into blocks and joined again, as the driver's own calls would
// cost more than most kernels. Blocks are reused in the order of the compute stream, so nothing is waited for.
// Huge requests get a region each. A driver whose own pool is ordered by the stream has them back at once: it joins
// pages that do not lie side by side, which nobody else can (CUDA's guide, stream-ordered memory allocator).

import { invariant } from '@darkroom/core/backend';
import { isOutOfMemory } from './addon.ts';
import type { Address } from './native.ts';

/** Blocks start at multiples of this: any vector load is aligned. */
const alignment = 512;
/** Requests below this come from regions of their own, so that they do not cut up the large ones. */
const smallest = 1 << 20;
const smallRegion = 4 << 20;
const largeRegion = 32 << 20;
/** Requests from this on get a region of their size. */
const huge = 16 << 20;
/** Sizes of regions that are kept are multiples of this, so that they serve near-equal requests. */
const regionUnit = 2 << 20;

interface Block {
  readonly address: Address;
  bytes: number;
  free: boolean;
  readonly small: boolean;
  /** Neighbours in the region. */
  before: Block | undefined;
  after: Block | undefined;
}

/** Device memory cut from regions. Sizes and addresses in bytes; accounting is exact. */
export class CachingAllocator {
  readonly #take: (bytes: number) => Address;
  readonly #give: (address: Address) => void;
  readonly #blocks = new Map<Address, Block>();
  /** Free blocks by size: of small regions, of the others. */
  readonly #free: readonly [Block[], Block[]] = [[], []];
  readonly #ordered: boolean;
  #reserved = 0;
  #most = 0;

  /**
   * `take` allocates from the driver, throwing its error; `give` frees, waiting for nothing if the driver is `ordered`.
   */
  constructor(take: (bytes: number) => Address, give: (address: Address) => void, ordered = false) {
    this.#take = take;
    this.#give = give;
    this.#ordered = ordered;
  }

  /** Bytes allocated from the driver. */
  get reserved(): number {
    return this.#reserved;
  }

  alloc(bytes: number): Address {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    const small = size < smallest;
    const block = this.#best(size, small) ?? this.#region(size, small);
    this.#remove(block);
    block.free = false;
    if (block.bytes - size >= (small ? alignment : smallest)) this.#cut(block, size);
    return block.address;
  }

  free(address: Address): void {
    const block = this.#blocks.get(address);
    invariant(block !== undefined && !block.free, 'an allocated block');
    if (this.#ordered && block.bytes >= huge && !block.before && !block.after) return this.#drop(block);
    block.free = true;
    const { after, before } = block;
    if (after?.free) {
      this.#remove(after);
      this.#join(block, after);
    }
    if (before?.free) {
      this.#remove(before);
      this.#join(before, block);
      this.#insert(before);
    } else this.#insert(block);
  }

  /** Gives regions that hold nothing back to the driver. */
  trim(): void {
    for (const list of this.#free) {
      for (const block of list.filter((b) => !b.before && !b.after)) {
        this.#remove(block);
        this.#drop(block);
      }
    }
  }

  #drop(block: Block): void {
    this.#blocks.delete(block.address);
    this.#reserved -= block.bytes;
    this.#give(block.address);
  }

  #region(size: number, small: boolean): Block {
    const bytes = small ? smallRegion : size < huge ? largeRegion : this.#hugeBytes(size);
    // Before the device holds more than ever, what nobody uses goes; later it fits without.
    if (this.#ordered && bytes >= huge && this.#reserved + bytes > this.#most) this.trim();
    let address: Address;
    try {
      address = this.#take(bytes);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      this.trim();
      address = this.#take(bytes);
    }
    this.#reserved += bytes;
    this.#most = Math.max(this.#most, this.#reserved);
    const block: Block = { address, bytes, free: true, small, before: undefined, after: undefined };
    this.#blocks.set(address, block);
    this.#insert(block);
    return block;
  }

  #hugeBytes(size: number): number {
    return this.#ordered ? size : Math.ceil(size / regionUnit) * regionUnit;
  }

  #cut(block: Block, size: number): void {
    const rest: Block = {
      address: block.address + size,
      bytes: block.bytes - size,
      free: true,
      small: block.small,
      before: block,
      after: block.after,
    };
    if (rest.after) rest.after.before = rest;
    block.after = rest;
    block.bytes = size;
    this.#blocks.set(rest.address, rest);
    this.#insert(rest);
  }

  /** `second`, which is after `first`, becomes part of it. */
  #join(first: Block, second: Block): void {
    first.bytes += second.bytes;
    first.after = second.after;
    if (second.after) second.after.before = first;
    this.#blocks.delete(second.address);
  }

  /** The smallest free block that fits. */
  #best(size: number, small: boolean): Block | undefined {
    const list = this.#free[small ? 0 : 1];
    return list[position(list, size)];
  }
  #insert(block: Block): void {
    const list = this.#free[block.small ? 0 : 1];
    list.splice(position(list, block.bytes), 0, block);
  }
  #remove(block: Block): void {
    const list = this.#free[block.small ? 0 : 1];
    list.splice(list.indexOf(block, position(list, block.bytes)), 1);
  }
}

/** Index of the first block of at least `size` in a list sorted by size. */
function position(list: readonly Block[], size: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.bytes < size) low = middle + 1;
    else high = middle;
  }
  return low;
}
