// Launches of a plan as one CUDA graph: captured once they have run, then launched as a whole. A graph keeps addresses,
// so it is captured anew when scratch memory has moved.

import type { CompiledLaunches } from '@darkroom/core/backend';
import type { FaultLog } from './fault-log.ts';
import { wordError } from './node/addon.ts';
import type { Driver, GraphInstance, Stream } from './node/native.ts';

/** CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: a capture does not restrict other threads. */
const threadLocal = 1;

export interface CaptureHost {
  readonly driver: Driver;
  readonly stream: Stream;
  /** Enqueues every kernel by itself. */
  readonly enqueue: () => void;
  /** A number that changes whenever the shared scratch memory has moved. */
  readonly scratch: () => number;
  readonly faults: FaultLog;
}

export class CapturedLaunches implements CompiledLaunches {
  readonly #host: CaptureHost;
  #instance: GraphInstance | undefined;
  #scratch = -1;
  #ran = false;
  #refused = false;

  constructor(host: CaptureHost) {
    this.#host = host;
  }

  run(): void {
    const { driver, stream, enqueue, scratch } = this.#host;
    // The first run loads kernels and allocates scratch memory; neither may happen in a capture.
    if (!this.#ran || this.#refused) {
      enqueue();
      this.#ran = true;
      return;
    }
    if (this.#scratch !== scratch()) this.#capture();
    if (this.#instance === undefined) enqueue();
    else driver.graphLaunch(this.#instance, stream);
  }

  #capture(): void {
    const { driver, stream, enqueue, scratch, faults } = this.#host;
    this.#release();
    let capturing = false;
    try {
      driver.captureBegin(stream, threadLocal);
      capturing = true;
      enqueue();
      capturing = false;
      const graph = driver.captureEnd(stream);
      try {
        this.#instance = driver.graphInstantiate(graph);
      } finally {
        driver.graphDestroy(graph);
      }
      this.#scratch = scratch();
    } catch (error) {
      if (capturing) abandon(driver, stream);
      this.#refused = true;
      const { message } = wordError(error, 'graph capture') as Error;
      faults.warn(
        { kind: 'capture-failed', op: 'graph', message },
        '; running the kernels one by one instead',
      );
    }
  }

  #release(): void {
    if (this.#instance !== undefined) this.#host.driver.instanceDestroy(this.#instance);
    this.#instance = undefined;
    this.#scratch = -1;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}

/** Ends a capture that failed, so that the stream can be used again. */
function abandon(driver: Driver, stream: Stream): void {
  try {
    driver.graphDestroy(driver.captureEnd(stream));
  } catch {
    // An invalidated capture gives no graph; the stream can be used again.
  }
}
