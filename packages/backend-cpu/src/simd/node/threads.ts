// Node's half of the engine: worker threads and V8's relaxed-SIMD switch.

import { setFlagsFromString } from 'node:v8';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { WorkerHandle } from '../threads.ts';

/** Node 20 has relaxed SIMD behind a flag that may be set at run time; later versions have it on. */
export function enableRelaxedSimd(): void {
  try {
    setFlagsFromString('--experimental-wasm-relaxed-simd');
  } catch {
    // A V8 without the flag either has the feature or does not; the engine validates a module to find out.
  }
}

export function coreCount(): number {
  return availableParallelism();
}

/** Starts a worker that never keeps the process alive. Resolves when it runs. */
export async function startWorker(source: string, data: unknown): Promise<WorkerHandle> {
  const worker = new Worker(source, { eval: true });
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
  worker.postMessage(data);
  await ready;
  worker.unref();
  return { stop: () => void worker.terminate() };
}
