// The engine: one shared memory with its heap, compiled kernels, and the thread pool. Runs are synchronous: the
// calling thread takes tiles too and returns when all are done. Knows nothing of ops or tensors.

import { ArgumentError, describe, DeviceError, log, OutOfMemoryError } from '@darkroom/core';
import { ModuleBuilder } from './emitter.ts';
import { Heap } from './heap.ts';
import {
  argsAt,
  argsWords,
  control,
  heapStart,
  maxThreads,
  stagingAt,
  stagingBytes,
  startWebWorker,
  workerSource,
} from './threads.ts';
import type { WorkerHandle } from './threads.ts';

/** Seconds to wait for one tile of a worker before it counts as gone, where the platform does not report its end. */
const mostWaits = 600;
const pageBytes = 65536;
const maxPages = 65536;
/** Runs below this many flops (or bytes) stay on the calling thread: even a worker that is awake costs microseconds. */
export const parallelThreshold = 150_000;
/**
 * Turns of a short spin (some tens of microseconds) before a thread sleeps: kernels follow each other closely, and
 * between two kernels on several threads often comes a small one on the caller's thread.
 */
const spins = 20_000;

/** A compiled module: exports `tile(args, index, scratch)`. */
export interface Code {
  readonly id: number;
  readonly bytesAt: number;
  readonly byteCount: number;
  readonly tile: (args: number, index: number, scratch: number) => void;
}

export interface EngineOptions {
  /** From 1 to 32; default: the cores of the machine. Without shared memory (a page that is not isolated) always 1. */
  readonly threads?: number;
  /** Default: true where the engine has relaxed SIMD. Fused multiply-adds change the last bits of products. */
  readonly relaxed?: boolean;
}

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
  readonly relaxed: boolean;
  readonly #shared: boolean;
  readonly #heap: Heap;
  readonly #codes = new Map<string, Code>();
  readonly #workers: readonly WorkerHandle[];
  #words: Int32Array;
  #bytes: Uint8Array;
  #scratchBytes = 0;
  #canWait = true;
  /** The reason why the engine can no longer compute; undefined while it can. */
  #lost: string | undefined;

  private constructor(
    memory: WebAssembly.Memory,
    shared: boolean,
    relaxed: boolean,
    workers: readonly WorkerHandle[],
  ) {
    this.memory = memory;
    this.#shared = shared;
    this.relaxed = relaxed;
    this.threads = workers.length + 1;
    this.#workers = workers;
    this.#words = new Int32Array(memory.buffer, 0, stagingAt / 4);
    this.#bytes = new Uint8Array(memory.buffer);
    this.#heap = new Heap(heapStart, maxPages * pageBytes, (end) => this.#grow(end));
    try {
      if (shared) Atomics.wait(this.#words, control.stop, 1, 0); // refused on a browser's main thread
    } catch {
      this.#canWait = false;
    }
  }

  /** @throws ArgumentError for a bad number of threads, DeviceError when a worker does not start. */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const { threads: asked } = options;
    if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= maxThreads))
      throw new ArgumentError(
        `cpu: threads must be an integer from 1 to ${maxThreads}, got ${describe(asked)}`,
      );
    const isNode = typeof process !== 'undefined' && process.versions?.node !== undefined;
    const platform = isNode ? await import('./node/threads.ts') : undefined;
    if (!hasRelaxedSimd()) platform?.enableRelaxedSimd();
    const shared = typeof SharedArrayBuffer !== 'undefined';
    const cores = platform?.coreCount() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
    const threads = shared ? (asked ?? Math.max(1, Math.min(maxThreads, cores))) : 1;
    if (asked !== undefined && asked > threads)
      log.warn(
        `cpu: threads need shared memory, which a page has under cross-origin isolation; 1 of ${asked} is used`,
      );
    const memory = new WebAssembly.Memory(
      shared ? { initial: 16, maximum: maxPages, shared: true } : { initial: 16 },
    );
    const start = platform?.startWorker ?? startWebWorker;
    const started = await Promise.allSettled(
      Array.from({ length: threads - 1 }, (_, i) =>
        start(workerSource, { memory, index: i + 1, c: control, argsAt, spins }),
      ),
    );
    const workers = started.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
    const engine = new Engine(memory, shared, (options.relaxed ?? true) && hasRelaxedSimd(), workers);
    for (const [i, s] of started.entries()) {
      if (s.status === 'fulfilled') continue;
      engine.dispose();
      const reason = (s.reason as Error).message;
      throw new DeviceError(`cpu: worker thread ${i + 1} of ${started.length} did not start: ${reason}`);
    }
    return engine;
  }

  #grow(end: number): boolean {
    const grown = this.#extend(end);
    // Growing unshared memory detaches its views; a page without isolation has only unshared memory.
    if (!this.#shared) this.#words = new Int32Array(this.memory.buffer, 0, stagingAt / 4);
    return grown;
  }

  #extend(end: number): boolean {
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / pageBytes);
    if (missing <= 0) return true;
    try {
      // At least an eighth more, so that many small requests do not grow one by one.
      const spare = Math.min(
        maxPages - this.memory.buffer.byteLength / pageBytes,
        this.memory.buffer.byteLength / pageBytes / 8,
      );
      this.memory.grow(Math.max(missing, Math.floor(Math.min(spare, 4096))));
    } catch {
      try {
        this.memory.grow(missing);
      } catch {
        return false;
      }
    }
    return true;
  }

  /** All of memory, as it is now; do not keep it across allocations. */
  get bytes(): Uint8Array {
    const { buffer } = this.memory;
    if (this.#bytes.buffer !== buffer) this.#bytes = new Uint8Array(buffer);
    return this.#bytes;
  }

  /** @throws OutOfMemoryError when the 4 GiB of a 32-bit memory are used up. */
  alloc(bytes: number): number {
    this.#requireWorkers();
    const at = this.#heap.alloc(bytes);
    if (at === undefined) {
      throw new OutOfMemoryError(
        `cpu: no room for ${bytes} bytes: a WebAssembly memory ends at 4 GiB. Load the weights in half their size ` +
          "({ dtype: 'float16' }, --dtype float16), or keep them in host memory until they are needed " +
          "({ weights: 'host' } and enableModelCpuOffload(), --offload model)",
      );
    }
    return at;
  }
  free(at: number): void {
    this.#heap.free(at);
  }

  /** Lends memory to `use` for as long as it runs. */
  lend(bytes: number, use: (at: number) => void): void {
    const at = this.alloc(bytes);
    try {
      use(at);
    } finally {
      this.free(at);
    }
  }

  /** Words in the heap that live as long as the engine or until freed: tables of a prepared kernel. */
  table(words: ArrayLike<number>): number {
    const at = this.alloc(Math.max(4, words.length * 4));
    new Int32Array(this.memory.buffer, at, words.length).set(words);
    return at;
  }

  /** Compiles once per key. */
  code(key: string, build: (module: ModuleBuilder) => void): Code {
    const known = this.#codes.get(key);
    if (known) return known;
    const module = new ModuleBuilder();
    build(module);
    const bytes = module.encode(this.#shared);
    const bytesAt = this.alloc(bytes.length);
    this.bytes.set(bytes, bytesAt);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: this.memory },
    });
    const code: Code = {
      id: this.#codes.size + 1,
      bytesAt,
      byteCount: bytes.length,
      tile: exports['tile'] as Code['tile'],
    };
    this.#codes.set(key, code);
    return code;
  }

  /** Makes each thread's scratch at least this large. */
  reserveScratch(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    for (let t = 0; t < this.threads; t++) {
      const old = this.#words[control.scratch + t]! >>> 0;
      if (old) this.free(old);
      this.#words[control.scratch + t] = 0;
    }
    for (let t = 0; t < this.threads; t++) {
      const at = this.alloc(bytes); // first: it may replace #words
      this.#words[control.scratch + t] = at;
    }
    this.#scratchBytes = bytes;
  }

  /** Runs tile 0 … tiles-1 with these argument words; `work` (flops or bytes) decides whether threads help. */
  run(code: Code, args: ArrayLike<number>, tiles: number, work: number): void {
    if (args.length > argsWords)
      throw new RangeError(`internal: ${args.length} argument words, ${argsWords} fit`);
    const words = this.#words;
    words.set(args, argsAt / 4);
    const scratch = words[control.scratch]!;
    if (this.threads === 1 || tiles <= 1 || work < parallelThreshold) {
      for (let i = 0; i < tiles; i++) code.tile(argsAt, i, scratch);
      return;
    }
    this.#requireWorkers();
    words[control.kernel] = code.id;
    if (code.byteCount > stagingBytes) throw new RangeError(`internal: a module of ${code.byteCount} bytes`);
    this.bytes.copyWithin(stagingAt, code.bytesAt, code.bytesAt + code.byteCount);
    words[control.bytesAt] = stagingAt;
    words[control.byteCount] = code.byteCount;
    words[control.tiles] = tiles;
    Atomics.store(words, control.next, 0);
    Atomics.store(words, control.done, 0);
    Atomics.add(words, control.epoch, 1);
    Atomics.notify(words, control.epoch);
    for (let i = Atomics.add(words, control.next, 1); i < tiles; i = Atomics.add(words, control.next, 1)) {
      code.tile(argsAt, i, scratch);
    }
    this.#awaitWorkers();
  }

  /**
   * Returns when every worker has said that it has no tile left.
   * @throws DeviceError when one cannot say so any more.
   */
  #awaitWorkers(): void {
    const words = this.#words;
    const others = this.threads - 1;
    let waits = 0;
    for (let turn = 0; ; turn++) {
      const done = Atomics.load(words, control.done);
      if (done === others) break;
      if (turn <= spins || !this.#canWait) continue;
      if (Atomics.wait(words, control.done, done, 1000) !== 'timed-out') continue;
      const gone = this.#workers.findIndex((worker) => !worker.mayRun());
      if (gone >= 0) this.#lose(`worker thread ${gone + 1} of ${others} ended while a kernel ran`);
      if (++waits >= mostWaits) this.#lose(`a worker thread gave no sign for ${waits} seconds`);
    }
    if (Atomics.load(words, control.failed) > 0) this.#lose('a worker thread failed while a kernel ran');
  }

  #requireWorkers(): void {
    for (const [i, { ended }] of this.#workers.entries())
      if (ended !== undefined && this.#lost === undefined)
        this.#lose(`worker thread ${i + 1} of ${this.#workers.length} ended (${ended})`);
    if (this.#lost !== undefined) this.#lose(this.#lost);
  }

  /** Refuses all later runs: the tiles that a lost worker left undone are unknown. */
  #lose(reason: string): never {
    this.#lost = reason;
    throw new DeviceError(`cpu: the device is lost: ${reason}; open another one with cpu()`);
  }

  dispose(): void {
    Atomics.store(this.#words, control.stop, 1);
    Atomics.add(this.#words, control.epoch, 1);
    Atomics.notify(this.#words, control.epoch);
    for (const worker of this.#workers) worker.stop();
  }
}

/** True if this WebAssembly engine accepts a relaxed multiply-add. */
function hasRelaxedSimd(): boolean {
  const module = new ModuleBuilder();
  module.add(['i32'], (f) => {
    f.f32x4(1).f32x4(1).f32x4(1).op('f32x4.relaxed_madd').op('drop');
  });
  return WebAssembly.validate(module.encode(typeof SharedArrayBuffer !== 'undefined'));
}
