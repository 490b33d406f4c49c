// The CUDA backend: a driver over one context and stream. Kernels are the GPU texts compiled by NVRTC; every launch is
// one call with an argument block that was laid out when the kernel was prepared.

import { DeviceError, opKey } from '@darkroom/core';
import type {
  ArgSpec,
  Backend,
  Buffer,
  Caps,
  Choice,
  DType,
  Kernel,
  KernelOp,
  Queue,
  Slice,
} from '@darkroom/core';
import { factoryOf, fillParams, foldWidth } from '@darkroom/gpu-kernels';
import type { Pass, Traits } from '@darkroom/gpu-kernels';
import type { CompiledKernel, Compiler } from './compiler.ts';
import { labelled, launch } from './node/addon.ts';
import type { Cuda } from './node/addon.ts';
import type { DeviceMemory } from './node/memory.ts';

export interface OpenedDevice {
  readonly cuda: Cuda;
  readonly compiler: Compiler;
  readonly traits: Traits;
  readonly stream: number;
  readonly memory: DeviceMemory;
  /** Makes the context current on this thread. */
  readonly use: () => void;
  readonly fingerprint: string;
  readonly totalBytes: number;
  readonly close: () => void;
}

interface CudaBuffer extends Buffer {
  readonly address: number;
}
interface CudaQueue extends Queue {
  readonly stream: number;
}
/** One launch: `block` holds the buffers' addresses, then the parameters. */
interface Launch {
  readonly pass: Pass;
  readonly kernel: CompiledKernel;
  readonly block: ArrayBuffer;
  readonly words: Uint32Array;
}
interface Prepared {
  readonly launches: readonly Launch[];
  readonly scratch: readonly number[];
}
interface CudaKernel extends Kernel {
  readonly wide: Prepared;
  readonly plain: () => Prepared;
}

const addressOf = (slice: Slice): number => (slice.buffer as CudaBuffer).address + slice.offset;

export class CudaBackend implements Backend {
  readonly name = 'cuda';
  readonly caps: Caps;
  readonly #opened: OpenedDevice;
  readonly #driver: Cuda['driver'];
  readonly #live = new Set<Buffer>();
  readonly #scratch: CudaBuffer[] = [];
  readonly #streams: number[] = [];
  #disposed = false;

  constructor(opened: OpenedDevice) {
    this.#opened = opened;
    this.#driver = opened.cuda.driver;
    const dtypes: DType[] = ['float32', 'float16', 'bfloat16', 'int32', 'uint8', 'bool'];
    this.caps = {
      dtypes: new Set(dtypes),
      convFormat: 'channelsLast',
      suballocate: true,
      poolBuffers: true,
      replay: false,
      pinned: true,
      syncRead: true,
      maxBufferBytes: opened.totalBytes,
      maxBindings: opened.traits.bindings,
      peak: {},
      bandwidth: 0,
      fingerprint: opened.fingerprint,
    };
  }

  /** Kernels launched and texts compiled so far. */
  readonly counters: { launches: number } = { launches: 0 };

  alloc(bytes: number): Buffer {
    this.#open();
    const { memory, stream } = this.#opened;
    const address = labelled(`${bytes} bytes`, () => memory.alloc(bytes, stream));
    const buffer: CudaBuffer = { bytes, address };
    this.#live.add(buffer);
    return buffer;
  }
  free(buffer: Buffer): void {
    if (!this.#live.delete(buffer)) throw new DeviceError('cuda: buffer freed twice');
    this.#opened.memory.free((buffer as CudaBuffer).address, this.#opened.stream);
  }
  write(dst: Slice, src: Uint8Array, queue?: Queue): void {
    this.#open();
    // From pageable memory the driver has taken a copy when the call returns.
    const own = src.buffer instanceof ArrayBuffer ? src : new Uint8Array(src);
    this.#driver.copyToDevice(addressOf(dst), own, this.#streamOf(queue));
  }
  copy(dst: Slice, src: Slice, queue?: Queue): void {
    this.#driver.copyOnDevice(addressOf(dst), addressOf(src), src.bytes, this.#streamOf(queue));
  }
  readSync(src: Slice): Uint8Array {
    this.#open();
    const out = new Uint8Array(src.bytes);
    if (src.bytes === 0) return out;
    this.#driver.copyToHost(out, addressOf(src), this.#opened.stream);
    this.#driver.streamSynchronize(this.#opened.stream);
    return out;
  }
  async read(src: Slice): Promise<Uint8Array> {
    await this.idle();
    return this.readSync(src);
  }

  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[] {
    if (op.kind === 'custom') return [];
    return factoryOf(op)
      .choices(op, args, this.#opened.traits)
      .map((id) => ({ id }));
  }

  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Kernel {
    if (op.kind === 'custom') throw new DeviceError(`cuda: custom '${op.name}' has no kernel here`);
    const build = (wide: boolean): Prepared => {
      const { passes, scratch = [] } = factoryOf(op).prepare(op, args, choice.id, this.#opened.traits, wide);
      const launches = passes.map((pass): Launch => {
        const pointers = pass.bindings.length * 8;
        const block = new ArrayBuffer(Math.ceil((pointers + pass.params.byteLength) / 8) * 8);
        return { pass, kernel: this.#opened.compiler.of(pass.text), block, words: new Uint32Array(block) };
      });
      return { launches, scratch };
    };
    let plain: Prepared | undefined;
    const kernel: CudaKernel = {
      key: `${opKey(op)} ${choice.id}`,
      label: `${op.kind}/${choice.id}`,
      wide: build(true),
      plain: () => (plain ??= build(false)),
    };
    return kernel;
  }

  /** Compiles every kernel prepared so far that has not run yet. @throws DeviceError with the compiler's log. */
  async ready(): Promise<void> {
    await this.#opened.compiler.ready();
  }

  run(kernel: Kernel, args: readonly Slice[], scalars: readonly number[], queue?: Queue): void {
    this.#open();
    const { wide, plain } = kernel as CudaKernel;
    const fits = wide.launches.every(({ pass }) =>
      pass.offsets.every(({ arg, unitBytes }) => arg >= args.length || args[arg]!.offset % unitBytes === 0),
    );
    const { launches, scratch } = fits ? wide : plain();
    for (const [i, bytes] of scratch.entries()) this.#scratchOf(i, bytes);
    for (const step of launches) if (step.pass.groups > 0) this.#run(step, args, scalars, queue);
  }

  #run(
    { pass, kernel, block, words }: Launch,
    args: readonly Slice[],
    scalars: readonly number[],
    queue?: Queue,
  ): void {
    for (const [i, { arg }] of pass.bindings.entries()) {
      const slice = args[arg];
      const address = slice ? addressOf(slice) : this.#scratch[arg - args.length]!.address;
      words[2 * i] = address >>> 0;
      words[2 * i + 1] = Math.floor(address / 2 ** 32);
    }
    fillParams(pass, words, 2 * pass.bindings.length, () => 0, scalars);
    const fn = this.#opened.compiler.load(kernel);
    const x = Math.min(pass.groups, foldWidth);
    const y = Math.ceil(pass.groups / x);
    launch(
      this.#driver,
      kernel.label,
      fn,
      [x, y, 1],
      [pass.text.threads, 1, 1],
      pass.text.poolBytes,
      this.#streamOf(queue),
      block,
    );
    this.counters.launches++;
  }

  /** Scratch buffer i with room for `bytes`; kernels of the one compute stream share it in turn. */
  #scratchOf(i: number, bytes: number): void {
    const kept = this.#scratch[i];
    if (kept && kept.bytes >= bytes) return;
    if (kept) this.free(kept);
    this.#scratch[i] = this.alloc(bytes) as CudaBuffer;
  }

  #open(): void {
    if (this.#disposed) throw new DeviceError('cuda: the device was disposed');
    this.#opened.use();
  }
  #streamOf(queue: Queue | undefined): number {
    return queue ? (queue as CudaQueue).stream : this.#opened.stream;
  }

  createQueue(role: 'compute' | 'copy'): Queue {
    this.#open();
    const stream = role === 'compute' ? this.#opened.stream : this.#driver.streamCreate(0);
    if (role === 'copy') this.#streams.push(stream);
    const queue: CudaQueue = { role, stream };
    return queue;
  }
  fence(after: Queue, before: Queue): void {
    const event = this.#driver.eventCreate(false);
    this.#driver.eventRecord(event, this.#streamOf(after));
    this.#driver.streamWait(this.#streamOf(before), event);
    this.#driver.eventDestroy(event); // the driver keeps it until the wait is over
  }
  /** Launches are submitted as they come. */
  flush(): void {}
  async idle(): Promise<void> {
    this.#open();
    const event = this.#driver.eventCreate(false);
    this.#driver.eventRecord(event, this.#opened.stream);
    try {
      await this.#driver.eventWait(event);
    } finally {
      this.#driver.eventDestroy(event);
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
    this.#driver.streamSynchronize(this.#opened.stream);
    for (const buffer of [...this.#live]) this.free(buffer);
    for (const stream of this.#streams) this.#driver.streamDestroy(stream);
    this.#disposed = true;
    this.#opened.close();
  }
}
