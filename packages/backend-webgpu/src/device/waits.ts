// Waiting for a batch. Dawn's binding for Node polls in every turn of the event loop while anything is awaited: that takes
// one core, which a software adapter computes on, and fills the heap. So a wait that is expected to be long, because the
// same batch took long before, is slept through for the most part. Browsers wait by themselves.

/** Waits below this are not slept: timers are a millisecond or two late. */
const leastMs = 8;
/** Part of the shortest wait so far that is slept. */
const part = 0.9;
/** Batches remembered; those of a denoising loop are a handful. */
const remembered = 64;

/** What tells batches apart: equal ones took equally long so far. */
export interface BatchSize {
  readonly dispatches: number;
  readonly flops: number;
}

export class Waits {
  readonly #shortest = new Map<string, number>();
  #waiting = 0;

  /** Resolves as `done` does, which is called after the sleep; `since`: when the batch began, by performance.now(). */
  async wait<T>(batch: BatchSize, since: number, done: () => Promise<T>): Promise<T> {
    // Beside another wait, and for nothing, the time says nothing about the batch.
    const alone = this.#waiting === 0 && batch.dispatches > 0;
    this.#waiting++;
    try {
      if (!alone) return await done();
      const key = `${batch.dispatches} ${batch.flops}`;
      const known = this.#shortest.get(key) ?? Infinity;
      const rest = known * part - (performance.now() - since);
      if (known < Infinity && rest >= leastMs) await new Promise((resolve) => setTimeout(resolve, rest));
      const result = await done();
      if (this.#waiting === 1) this.#remember(key, Math.min(known, performance.now() - since));
      return result;
    } finally {
      this.#waiting--;
    }
  }

  #remember(key: string, ms: number): void {
    this.#shortest.delete(key); // so that the oldest is the first
    this.#shortest.set(key, ms);
    if (this.#shortest.size > remembered) this.#shortest.delete(this.#shortest.keys().next().value!);
  }
}
