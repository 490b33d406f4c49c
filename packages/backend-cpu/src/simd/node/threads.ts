// Node's half of the engine: worker threads and V8's relaxed-SIMD switch.

import { existsSync } from 'node:fs';
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

/** Starts a worker that never keeps the process alive. Resolves when it runs; rejects when it ends before. */
export async function startWorker(source: string, data: unknown): Promise<WorkerHandle> {
  const worker = new Worker(source, { eval: true });
  let ended: string | undefined;
  let thread: string | undefined;
  await new Promise<void>((resolve, reject) => {
    worker.once('message', (message: { readonly thread?: string }) => {
      ({ thread } = message);
      resolve();
    });
    // Listens for as long as it runs: an error that nobody hears of would end the process.
    worker.on('error', (error: Error) => reject(new Error((ended ??= error.message))));
    worker.on('exit', (code) => reject(new Error((ended ??= `exit code ${code}`))));
    worker.postMessage(data);
  });
  worker.unref();
  return {
    stop: () => void worker.terminate(),
    get ended() {
      return ended;
    },
    mayRun: () => ended === undefined && (thread === undefined || existsSync(`/proc/${thread}`)),
  };
}
