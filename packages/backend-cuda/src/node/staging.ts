// Uploads from pageable memory through a ring of pinned chunks: while one is on its way, the next is filled. The driver
// would stage them too, but through small chunks and waiting for each.

import type { Address, Driver, Event, Stream } from './native.ts';

const chunkBytes = 8 << 20;
const chunks = 3;
/** Below this the driver's own way is as quick. */
const smallest = 256 << 10;

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Happens when the chunk may be filled anew. */
  readonly free: Event;
}

export class Staging {
  readonly #driver: Driver;
  readonly #ring: Chunk[] = [];
  #next = 0;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Copies to the device in the order of `stream`; `src` may be reused when it returns. */
  upload(to: Address, src: Uint8Array, stream: Stream): void {
    const driver = this.#driver;
    if (src.byteLength < smallest) {
      // From pageable memory the driver has taken a copy when the call returns.
      driver.copyToDevice(to, src.buffer instanceof ArrayBuffer ? src : new Uint8Array(src), stream);
      return;
    }
    for (let at = 0; at < src.byteLength; at += chunkBytes) {
      const { bytes, free } = this.#chunk();
      const part = src.subarray(at, at + chunkBytes);
      bytes.set(part);
      driver.copyToDevice(to + at, bytes.subarray(0, part.byteLength), stream);
      driver.eventRecord(free, stream);
    }
  }

  #chunk(): Chunk {
    const at = this.#next++ % chunks;
    const known = this.#ring[at];
    if (known) {
      this.#driver.eventSynchronize(known.free);
      return known;
    }
    const bytes = new Uint8Array(this.#driver.hostAlloc(chunkBytes));
    return (this.#ring[at] = { bytes, free: this.#driver.eventCreate(false) });
  }

  /** When no upload is under way. */
  dispose(): void {
    for (const { bytes, free } of this.#ring) {
      this.#driver.hostFree(bytes.buffer);
      this.#driver.eventDestroy(free);
    }
    this.#ring.length = 0;
  }
}
