// Workers that run tiles of kernels. They meet over a control block at the start of the shared memory; after the
// first message nothing is posted: new modules reach them as bytes in that memory.

/** Words of the control block. A run: the caller sets kernel, bytes, args, tiles; zeroes next and done; bumps epoch. */
export const control = {
  epoch: 0,
  /** Next tile to claim. */
  next: 1,
  tiles: 2,
  /** Workers that have no tile left to claim. */
  done: 3,
  kernel: 4,
  bytesAt: 5,
  byteCount: 6,
  stop: 7,
  /** Workers that could not run their tiles. */
  failed: 8,
  /** Scratch address of each thread; index 0 is the caller. */
  scratch: 16,
} as const;
export const maxThreads = 32;
/** The arguments of the current run, as words. */
export const argsAt = 256;
export const argsWords = 128;
/**
 * Address of a module's bytes on the way to the workers: below the memory's initial size, since a worker may see the
 * buffer's old length for a moment after memory has grown.
 */
export const stagingAt = 1024;
export const stagingBytes: number = 256 * 1024;
/** First byte the heap may use. */
export const heapStart: number = stagingAt + stagingBytes;

export interface WorkerHandle {
  stop(): void;
  /** The reason why the worker ended by itself, once the event loop reports it; undefined while it runs. */
  readonly ended: string | undefined;
  /**
   * False when the worker is gone, without the event loop, which a waiting caller blocks. True where this is unknown.
   */
  mayRun(): boolean;
}

/** The program of a worker: plain JavaScript for Node's worker_threads and for browser workers. */
export const workerSource = `
const start = ({ memory, index, c, argsAt, spins }) => {
  const words = new Int32Array(memory.buffer, 0, 64);
  const kernels = new Map();
  let epoch = 0;
  for (;;) {
    // Kernels follow each other within tens of microseconds: looking that long before sleeping saves the wake-up.
    for (let turn = 0; turn < spins && Atomics.load(words, c.epoch) === epoch; turn++);
    // A delayed caller may wake this worker for the run that it has just done: only a new number is a new run.
    while (Atomics.load(words, c.epoch) === epoch) Atomics.wait(words, c.epoch, epoch);
    epoch = Atomics.load(words, c.epoch);
    if (words[c.stop]) return;
    try {
      const id = words[c.kernel];
      let tile = kernels.get(id);
      if (!tile) {
        const bytes = new Uint8Array(memory.buffer, words[c.bytesAt] >>> 0, words[c.byteCount]).slice();
        tile = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports.tile;
        kernels.set(id, tile);
      }
      const scratch = words[c.scratch + index];
      for (let i = Atomics.add(words, c.next, 1); i < words[c.tiles]; i = Atomics.add(words, c.next, 1)) tile(argsAt, i, scratch);
    } catch {
      Atomics.add(words, c.failed, 1);
    }
    Atomics.add(words, c.done, 1);
    Atomics.notify(words, c.done);
  }
};
if (typeof require === 'function') {
  const { parentPort } = require('node:worker_threads');
  let thread;
  try { thread = require('node:fs').readlinkSync('/proc/thread-self'); } catch {} // Linux only
  parentPort.once('message', (data) => {
    parentPort.postMessage({ thread });
    parentPort.close?.(); // Deno's has none
    start(data);
  });
} else {
  onmessage = ({ data }) => { postMessage('ready'); start(data); };
}
`;

/** A worker of the browser. */
export async function startWebWorker(source: string, data: unknown): Promise<WorkerHandle> {
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url);
  let ended: string | undefined;
  await new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error((ended = event.message)));
    worker.postMessage(data);
  });
  URL.revokeObjectURL(url);
  return {
    stop: () => worker.terminate(),
    get ended() {
      return ended;
    },
    mayRun: () => true,
  };
}
