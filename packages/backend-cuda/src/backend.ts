// The CUDA backend: a driver over one context and stream. Kernels are our own texts (own-kernels.ts) or a library's.

import { DeviceError } from '@darkroom/core';
import { opKey } from '@darkroom/core/backend';
import type {
  ArgSpec,
  Backend,
  Buffer,
  Caps,
  Choice,
  CompiledLaunches,
  Kernel,
  KernelOp,
  PreparedLaunch,
  Queue,
  Slice,
} from '@darkroom/core/backend';
import { KernelVariants, ScratchBuffers } from '@darkroom/gpu-kernels';
import { CapturedLaunches } from './capture.ts';
import { inOrder } from './choice-order.ts';
import type { Compiler } from './compiler.ts';
import type { CudaFault, FaultLog } from './fault-log.ts';
import { labelled, wordError } from './node/addon.ts';
import type { Cuda } from './node/addon.ts';
import type { DeviceMemory } from './node/memory.ts';
import { CachingAllocator } from './node/caching-allocator.ts';
import { Staging } from './node/staging.ts';
import type { OwnKernels } from './own-kernels.ts';
import type { PlanCounts } from './libraries/cudnn-plans.ts';
import type { Library, Prepared } from './provider.ts';
import type { CudaTraits } from './traits.ts';

export interface OpenedDevice {
  readonly cuda: Cuda;
  readonly compiler: Compiler;
  readonly traits: CudaTraits;
  readonly own: OwnKernels;
  readonly stream: number;
  readonly memory: DeviceMemory;
  /**
   * True: buffers are cut from few large allocations. False: each is an allocation of its own, and core pools freed
   * ones.
   */
  readonly suballocate: boolean;
  /** NVIDIA's libraries, in the order of their choices. */
  readonly libraries: readonly Library[];
  readonly faults: FaultLog;
  readonly plans: Readonly<PlanCounts>;
  /** Makes the context current on this thread. */
  readonly use: () => void;
  readonly fingerprint: string;
  readonly totalBytes: number;
  readonly close: () => void;
}

interface CudaBuffer extends Buffer {
  readonly address: number;
  /** The bytes of pinned memory; undefined for device memory. */
  readonly host?: Uint8Array<ArrayBuffer>;
}
interface CudaQueue extends Queue {
  readonly stream: number;
}
interface CudaKernel extends Kernel {
  /** Wide: a library's kernel, or our own for aligned arguments. Plain: our own kernel for any arguments. */
  variants: KernelVariants<Prepared>;
  /** Of a library's first choice until it has run once: the choice, and what replaces it where it fails. */
  untried:
    { readonly op: string; readonly id: string; readonly own: () => KernelVariants<Prepared> } | undefined;
}

const addressOf = (slice: Slice): number => (slice.buffer as CudaBuffer).address + slice.offset;
/** The bytes of a slice of pinned memory; undefined for device memory. */
const hostOf = ({ buffer, offset, bytes }: Slice): Uint8Array | undefined =>
  (buffer as CudaBuffer).host?.subarray(offset, offset + bytes);

const argsText = (args: readonly ArgSpec[]): string =>
  args.map(({ dtype, layout }) => `${dtype}[${layout.shape.join(',')}]`).join(' ');

/** The backend behind cuda(): for benchmarks and tests that read its counters. */
export class CudaBackend implements Backend {
  readonly name = 'cuda';
  readonly caps: Caps;
  readonly #opened: OpenedDevice;
  readonly #driver: Cuda['driver'];
  readonly #own: OwnKernels;
  /** Addresses of the current run: arguments, then scratch. */
  readonly #addresses: number[] = [];
  readonly #live = new Set<Buffer>();
  readonly #scratch = new ScratchBuffers<CudaBuffer>({
    alloc: (bytes) => this.alloc(bytes) as CudaBuffer,
    free: (buffer) => this.free(buffer),
    bytesOf: ({ bytes }) => bytes,
  });
  readonly #staging: Staging;
  #copyStream: number | undefined;
  readonly #allocator: CachingAllocator | undefined;
  /** Bytes allocated from the driver, where buffers are cut from regions. */
  readonly reserved?: () => number;
  readonly trim?: () => void;
  #disposed = false;

  constructor(opened: OpenedDevice) {
    this.#opened = opened;
    this.#driver = opened.cuda.driver;
    if (opened.suballocate) {
      const { memory, stream } = opened;
      // The driver is asked again only after an allocation or a free.
      let reserved: number | undefined;
      const allocator = new CachingAllocator(
        (bytes) => {
          reserved = undefined;
          return memory.alloc(bytes, stream);
        },
        (address) => {
          reserved = undefined;
          memory.free(address, stream);
        },
        memory.ordered,
      );
      this.#allocator = allocator;
      this.reserved = () => (reserved ??= memory.reserved() ?? allocator.reserved);
      this.trim = () => {
        allocator.trim();
        memory.trim();
        reserved = undefined;
      };
    }
    this.#staging = new Staging(this.#driver);
    this.#own = opened.own;
    this.caps = {
      convFormat: 'channelsLast',
      rewrites: [],
      suballocate: true,
      poolBuffers: !opened.suballocate,
      pinned: true,
      syncRead: true,
      maxBufferBytes: opened.totalBytes,
      maxBindings: opened.traits.bindings,
      fingerprint: opened.fingerprint,
    };
  }

  /** What ran otherwise than chosen. */
  get faults(): readonly CudaFault[] {
    return this.#opened.faults.list;
  }

  /** cuDNN's plans made so far, and the milliseconds that took on this thread. */
  get plans(): Readonly<PlanCounts> {
    return this.#opened.plans;
  }

  /** Kernels launched so far. */
  readonly counters: { launches: number } = { launches: 0 };

  alloc(bytes: number, where: 'device' | 'pinned' = 'device'): Buffer {
    this.#open();
    const { memory, stream } = this.#opened;
    const buffer = labelled(`${bytes} bytes`, (): CudaBuffer => {
      if (where === 'device')
        return { bytes, address: this.#allocator?.alloc(bytes) ?? memory.alloc(bytes, stream) };
      const host = new Uint8Array(this.#driver.hostAlloc(bytes));
      return { bytes, address: this.#driver.hostAddress(host.buffer), host };
    });
    this.#live.add(buffer);
    return buffer;
  }
  free(buffer: Buffer): void {
    if (!this.#live.delete(buffer)) throw new DeviceError('cuda: buffer freed twice');
    const { address, host } = buffer as CudaBuffer;
    if (!host) {
      if (this.#allocator) this.#allocator.free(address);
      else this.#opened.memory.free(address, this.#opened.stream);
      return;
    }
    // The system takes host memory back at once, so copies from it must have ended.
    for (const stream of this.#everyStream()) this.#driver.streamSynchronize(stream);
    this.#driver.hostFree(host.buffer);
  }
  /** Writes a slice. Pinned memory is host memory, so it is written at once, whatever is queued. */
  write(dst: Slice, src: Uint8Array, queue?: Queue): void {
    this.#open();
    const host = hostOf(dst);
    if (host) host.set(src);
    else this.#staging.upload(addressOf(dst), src, this.#streamOf(queue));
  }
  copy(dst: Slice, src: Slice, queue?: Queue): void {
    this.#open();
    const stream = this.#streamOf(queue);
    const [to, from] = [hostOf(dst), hostOf(src)];
    if (to && from) to.set(from);
    else if (from) this.#driver.copyToDevice(addressOf(dst), from, stream);
    else if (to) this.#driver.copyToHost(to, addressOf(src), stream);
    else this.#driver.copyOnDevice(addressOf(dst), addressOf(src), src.bytes, stream);
  }
  readSync(src: Slice): Uint8Array {
    this.#open();
    const out = new Uint8Array(src.bytes);
    if (src.bytes === 0) return out;
    const host = hostOf(src);
    if (!host) this.#driver.copyToHost(out, addressOf(src), this.#opened.stream);
    for (const stream of this.#everyStream()) this.#driver.streamSynchronize(stream);
    if (host) out.set(host);
    return out;
  }
  async read(src: Slice): Promise<Uint8Array> {
    await this.idle();
    return this.readSync(src);
  }

  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[] {
    this.#open();
    const own = this.#own.choices(op, args);
    // A library needs aligned addresses, so our own kernel must be able to replace it at others.
    if (own.length === 0) return own;
    const libraries = this.#opened.libraries.flatMap(
      (library) => this.#try(op.kind, library.name, () => library.choices(op, args)) ?? [],
    );
    return inOrder(op, args, own, libraries, this.#opened.traits.processors);
  }

  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Kernel {
    this.#open();
    const library = this.#opened.libraries.find(
      ({ name }) => choice.id === name || choice.id.startsWith(`${name}-`),
    );
    const { faults } = this.#opened;
    const fault = { op: op.kind, choice: choice.id };
    const prepared =
      library &&
      this.#try(op.kind, choice.id, () => {
        const made = library.prepare(op, args, choice);
        const message = `cuda: ${op.kind}/${choice.id}: refused for ${argsText(args)}`;
        if (!made) faults.note({ kind: 'library-refused', ...fault, message });
        return made;
      });
    const own = library ? this.#own.choices(op, args)[0]! : choice;
    const { id } = prepared ? choice : own;
    const ownVariants = (): KernelVariants<Prepared> =>
      new KernelVariants((wide) => this.#own.prepare(op, args, own, wide));
    const kernel: CudaKernel = {
      key: `${opKey(op)} ${id}`,
      label: `${op.kind}/${id}`,
      variants: prepared
        ? new KernelVariants((wide) => {
            if (wide) return prepared;
            const message = `cuda: ${op.kind}/${id}: arguments are not aligned, ${own.id} runs (${argsText(args)})`;
            faults.note({ kind: 'choice', ...fault, message });
            return this.#own.prepare(op, args, own, false);
          })
        : ownVariants(),
      // Numbered choices throw: the tuner leaves them out, and what it has chosen once has run.
      untried: prepared && id === library.name ? { op: op.kind, id, own: ownVariants } : undefined,
    };
    return kernel;
  }

  /** What `calls` of a library give; when it fails, a record and a warning say so, and our own kernel runs. */
  #try<T>(op: string, choice: string, calls: () => T): T | undefined {
    try {
      return labelled(`${op}/${choice}`, calls);
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      const { message } = error;
      this.#opened.faults.warn(
        { kind: 'library-failed', op, choice, message },
        '; running our own kernel instead',
      );
      return undefined;
    }
  }

  /** Compiles every kernel prepared so far that has not run yet. @throws DeviceError with the compiler's log. */
  async ready(): Promise<void> {
    await this.#opened.compiler.ready();
  }

  run(kernel: Kernel, args: readonly Slice[], scalars: readonly number[], queue?: Queue): void {
    this.#open();
    const at = this.#addresses;
    at.length = 0;
    for (const slice of args) at.push(addressOf(slice));
    const cudaKernel = kernel as CudaKernel;
    const { variants, untried } = cudaKernel;
    const chosen = variants.wide.fits(at) ? variants.wide : variants.plain;
    for (let i = 0; i < chosen.scratch.length; i++)
      at.push(this.#scratch.withRoom(i, chosen.scratch[i]!).address);
    if (untried) {
      cudaKernel.untried = undefined;
      const run = (): number => chosen.run(at, scalars, this.#streamOf(queue));
      const launches = this.#try(untried.op, untried.id, run);
      this.counters.launches += launches ?? 0;
      if (launches !== undefined) return;
      cudaKernel.variants = untried.own();
      this.run(kernel, args, scalars, queue);
      return;
    }
    try {
      this.counters.launches += chosen.run(at, scalars, this.#streamOf(queue));
    } catch (error) {
      throw wordError(error, kernel.label);
    }
  }

  compile(launches: readonly PreparedLaunch[]): CompiledLaunches {
    const { stream } = this.#opened;
    return new CapturedLaunches({
      driver: this.#driver,
      stream,
      enqueue: () => {
        for (const { kernel, args, scalars } of launches) this.run(kernel, args, scalars);
      },
      scratch: () => {
        this.#open();
        return this.#scratch.moves;
      },
      faults: this.#opened.faults,
    });
  }

  #open(): void {
    if (this.#disposed) throw new DeviceError('cuda: the device was disposed');
    this.#opened.use();
  }
  #everyStream(): readonly number[] {
    const { stream } = this.#opened;
    return this.#copyStream === undefined ? [stream] : [this.#copyStream, stream];
  }
  #streamOf(queue: Queue | undefined): number {
    return queue ? (queue as CudaQueue).stream : this.#opened.stream;
  }

  createQueue(role: 'compute' | 'copy'): Queue {
    this.#open();
    const stream =
      role === 'compute' ? this.#opened.stream : (this.#copyStream ??= this.#driver.streamCreate(0));
    const queue: CudaQueue = { role, stream };
    return queue;
  }
  fence(after: Queue, before: Queue): void {
    const event = this.#driver.eventCreate(false);
    this.#driver.eventRecord(event, this.#streamOf(after));
    this.#driver.streamWait(this.#streamOf(before), event);
    this.#driver.eventDestroy(event); // the driver keeps it until the wait is over
  }
  /** Nothing to do: launches are submitted at once. */
  flush(): void {}
  async idle(): Promise<void> {
    this.#open();
    for (const stream of this.#everyStream()) {
      const event = this.#driver.eventCreate(false);
      this.#driver.eventRecord(event, stream);
      try {
        await this.#driver.eventWait(event);
      } finally {
        this.#driver.eventDestroy(event);
      }
    }
  }
  async time(work: () => void): Promise<number> {
    this.#open();
    const [start, end] = [this.#driver.eventCreate(true), this.#driver.eventCreate(true)];
    this.#driver.eventRecord(start, this.#opened.stream);
    work();
    this.#driver.eventRecord(end, this.#opened.stream);
    await this.#driver.eventWait(end);
    const ms = this.#driver.eventElapsed(start, end);
    this.#driver.eventDestroy(start);
    this.#driver.eventDestroy(end);
    return ms;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#opened.use();
    for (const stream of this.#everyStream()) this.#driver.streamSynchronize(stream);
    for (const buffer of [...this.#live]) this.free(buffer);
    this.#allocator?.trim();
    this.#staging.dispose();
    if (this.#copyStream !== undefined) this.#driver.streamDestroy(this.#copyStream);
    for (const library of this.#opened.libraries) library[Symbol.dispose]();
    this.#disposed = true;
    this.#opened.close();
  }
}
