// Waiting for a batch. Dawn's binding for Node polls in every turn of the event loop while anything is awaited: that
// takes one core, which a software adapter computes on, and fills the heap. So a wait that is expected to be long,
// because the same batch took long before, is slept through for the most part. Browsers wait by themselves.

/** Waits below this are not slept: timers are a millisecond or two late. */
const leastMs = 8;
/** Part of the shortest wait so far that is slept. */
const part = 0.9;
/** Milliseconds: a batch that ends this soon after the sleep counts as finished before it. */
const firstLookMs = 1;
/** Batches remembered; those of a denoising loop are a handful. */
const remembered = 64;

/** The size of a batch; batches of equal size take equally long. */
export interface BatchSize {
  readonly dispatches: number;
  readonly flops: number;
  /**
   * Number of programs that ran for the first time: they compile for seconds, so that wait does not predict the next.
   */
  readonly firstRuns: number;
}

interface Shortest {
  readonly ms: number;
  /** False where it is a guess, after a sleep that was too long. */
  readonly measured: boolean;
}
const nothing: Shortest = { ms: Infinity, measured: true };

export class Waits {
  readonly #shortest = new Map<string, Shortest>();
  #waiting = 0;

  /** Resolves as `done` does, which is called after the sleep; `since`: when the batch began, by performance.now(). */
  async wait<T>(batch: BatchSize, since: number, done: () => Promise<T>): Promise<T> {
    // Beside another wait, and for nothing, the time says nothing about the batch.
    const alone = this.#waiting === 0 && batch.dispatches > 0;
    this.#waiting++;
    try {
      if (!alone) return await done();
      if (batch.firstRuns > 0) return await gently(done);
      const key = `${batch.dispatches} ${batch.flops}`;
      const { ms, measured } = this.#shortest.get(key) ?? nothing;
      const rest = ms * part - (performance.now() - since);
      const sleeps = ms < Infinity && rest >= leastMs;
      if (sleeps) await new Promise((resolve) => setTimeout(resolve, rest));
      const asked = performance.now();
      const result = await (ms === Infinity ? gently(done) : done());
      const now = performance.now();
      // Over at the first look: it was over some time in the sleep, so that the next one is half as long.
      const over = sleeps && now - asked < firstLookMs;
      const shortest = measured ? Math.min(ms, now - since) : now - since;
      if (this.#waiting === 1) this.#remember(key, { ms: over ? rest / 2 : shortest, measured: !over });
      return result;
    } finally {
      this.#waiting--;
    }
  }

  #remember(key: string, time: Shortest): void {
    this.#shortest.delete(key); // so that the oldest is the first
    this.#shortest.set(key, time);
    if (this.#shortest.size > remembered) this.#shortest.delete(this.#shortest.keys().next().value!);
  }
}

/** Waits polled without pause before the pauses begin. */
const eagerMs = 2;
const pauseMs = 1;

/**
 * Waits with a pause in every turn of the event loop, so that the polling leaves the core to whoever computes or
 * compiles: for waits of unknown length. Other events of the process are late by a pause at most.
 */
async function gently<T>(done: () => Promise<T>): Promise<T> {
  const cell = new Int32Array(new SharedArrayBuffer(4)); // here: a page may have none, and waits by itself
  const start = performance.now();
  let waiting = true;
  const turn = (): void => {
    if (!waiting) return;
    if (performance.now() - start > eagerMs) Atomics.wait(cell, 0, 0, pauseMs);
    setImmediate(turn);
  };
  setImmediate(turn);
  try {
    return await done();
  } finally {
    waiting = false;
  }
}
