// Device: a backend with its allocator, kernel cache, tuner, precision switches and profile.
// Programs hold their devices; no global registry and no default device exist.

import './dispose-symbol.ts';
import type { MemoryStats } from './allocator.ts';
import { Allocator } from './allocator.ts';
import type { Backend, Buffer, Caps, Slice } from './backend.ts';
import { DeviceError } from './errors.ts';
import { KernelCache } from './kernel-cache.ts';
import type { Precision } from './op.ts';
import { Profile } from './profile.ts';
import { Tuner } from './tune/tuner.ts';
import type { TuneMode, TuneOptions, TuneStore } from './tune/tuner.ts';

/** Options of a device. */
export interface DeviceOptions {
  /**
   * 'off': the first choice; 'cached' (default): winners of earlier tuning; 'full': also collect keys for
   * device.tune().
   */
  readonly autotune?: TuneMode;
  readonly tuneStore?: TuneStore;
}

/** A backend with its allocator, kernel cache, tuner and profile. Tensors belong to one. */
export class Device {
  readonly backend: Backend;
  /** Precision of float32 matmul and conv2d: 'tf32' allows tf32 where the device has it. PyTorch's defaults. */
  readonly precision: { matmul: Precision; conv2d: Precision } = { matmul: 'float32', conv2d: 'tf32' };
  readonly tuner: Tuner;
  readonly profile: Profile = new Profile();
  /** For dispatch: prepared kernels by op and argument specs. */
  readonly kernels: KernelCache = new KernelCache();
  readonly #allocator: Allocator;
  #disposed = false;

  constructor(backend: Backend, options: DeviceOptions = {}) {
    this.backend = backend;
    this.#allocator = new Allocator(backend);
    this.tuner = new Tuner(backend, options.autotune ?? 'cached', options.tuneStore);
  }

  get name(): string {
    return this.backend.name;
  }
  get caps(): Caps {
    return this.backend.caps;
  }
  get autotune(): TuneMode {
    return this.tuner.mode;
  }
  set autotune(mode: TuneMode) {
    this.tuner.mode = mode;
    this.kernels.clear();
  }

  /** Exact bytes held by tensors (live), kept for reuse (cached), and the highest live since resetPeak. */
  memory(): MemoryStats {
    return this.#allocator.stats;
  }
  resetPeakMemory(): void {
    this.#allocator.resetPeak();
  }
  /** Returns buffers kept for reuse to the system. */
  emptyCache(): void {
    this.#allocator.dropCache();
  }

  /** Measures the keys that full autotuning collected and stores the winners; resolves to the number of keys. */
  async tune(options: TuneOptions = {}): Promise<number> {
    const tuned = await this.tuner.tunePending(options);
    if (tuned > 0) this.kernels.clear();
    return tuned;
  }

  /** Submits batched commands. */
  flush(): void {
    this.backend.flush();
  }
  /** Resolves when all queued work is done. */
  async idle(): Promise<void> {
    await this.backend.idle();
  }

  // For the framework.

  /** Memory of at least `bytes`. @throws DeviceError after dispose, OutOfMemoryError when there is no room. */
  allocate(bytes: number): Buffer {
    if (this.#disposed) throw new DeviceError(`${this.name}: the device was disposed`);
    return this.#allocator.alloc(bytes);
  }
  /** Returns a buffer of allocate() to the allocator. */
  release(buffer: Buffer): void {
    if (!this.#disposed) this.#allocator.free(buffer);
  }
  /** The bytes of a slice once all work queued so far is done. */
  async read(slice: Slice): Promise<Uint8Array> {
    return this.backend.read(slice);
  }
  /** Reads a slice synchronously. @throws DeviceError where the backend cannot (caps.syncRead). */
  readSync(slice: Slice): Uint8Array {
    if (!this.backend.readSync) {
      throw new DeviceError(`dataSync: ${this.name} cannot read synchronously; use await tensor.data()`);
    }
    return this.backend.readSync(slice);
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }
  /** Frees everything on the device; tensors on it become unusable. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.kernels.clear();
    this.backend[Symbol.dispose]();
  }
}
