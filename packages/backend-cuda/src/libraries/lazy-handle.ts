// A library's handle, made when first needed: it takes time and device memory, and many programs need none.

import { FaultLog } from '../fault-log.ts';

export class LazyHandle<T> {
  readonly #library: string;
  readonly #create: () => T;
  readonly #faults: FaultLog;
  #made: { readonly handle: T | undefined } | undefined;

  constructor(library: string, create: () => T, faults: FaultLog = new FaultLog()) {
    this.#library = library;
    this.#faults = faults;
    this.#create = create;
  }

  /**
   * The handle. Undefined from then on, after one warning, where the library does not start: our kernels run instead.
   */
  get(): T | undefined {
    if (this.#made) return this.#made.handle;
    try {
      this.#made = { handle: this.#create() };
    } catch (error) {
      const message = `cuda: ${this.#library} does not start and is not used: ${(error as Error).message}`;
      this.#faults.warn({ kind: 'library-failed', op: this.#library, message }, '');
      this.#made = { handle: undefined };
    }
    return this.#made.handle;
  }

  /** Frees what was made; nothing is made after that. */
  dispose(free: (handle: T) => void): void {
    const handle = this.#made?.handle;
    this.#made = { handle: undefined };
    if (handle !== undefined) free(handle);
  }
}
