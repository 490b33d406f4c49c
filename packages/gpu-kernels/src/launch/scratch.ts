// Memory that kernels use beside their arguments.

/** Allocates and frees scratch buffers. Sizes in bytes. */
export interface ScratchSource<B> {
  alloc(bytes: number): B;
  free(buffer: B): void;
  bytesOf(buffer: B): number;
}

/** Scratch buffers by number. The kernels of a queue run one after the other, so all of them share these in turn. */
export class ScratchBuffers<B> {
  readonly #source: ScratchSource<B>;
  readonly #buffers: B[] = [];
  #moves = 0;

  constructor(source: ScratchSource<B>) {
    this.#source = source;
  }

  /** Number of reallocations; buffer addresses from before the last one are stale. */
  get moves(): number {
    return this.#moves;
  }

  /** Buffer `i` as it is. */
  get(i: number): B | undefined {
    return this.#buffers[i];
  }

  /** Buffer `i` with room for `bytes`. @throws what the source throws when there is no memory. */
  withRoom(i: number, bytes: number): B {
    const kept = this.#buffers[i];
    if (kept !== undefined && this.#source.bytesOf(kept) >= bytes) return kept;
    if (kept !== undefined) this.#source.free(kept);
    const buffer = this.#source.alloc(bytes);
    this.#buffers[i] = buffer;
    this.#moves++;
    return buffer;
  }
}
