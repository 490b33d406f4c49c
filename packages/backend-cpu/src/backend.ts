// The CPU backend: a driver over the SIMD engine. Work is done when the call returns; queues and fences are formal.
// Every op has the reference kernel to fall back on; `kernels: 'reference'` uses nothing else (the oracle).

import { Device, DeviceError } from '@darkroom/core';
import { opKey } from '@darkroom/core/backend';
import type { DeviceOptions } from '@darkroom/core';
import type {
  AnyOp,
  ArgSpec,
  Backend,
  Buffer,
  Caps,
  Choice,
  CompiledLaunches,
  Kernel,
  PreparedLaunch,
  Queue,
  Slice,
} from '@darkroom/core/backend';
import { kernelsOf } from './kernels/index.ts';
import type { Run } from './kernels/kernel.ts';
import { PackedMemory, PackedLaunches } from './packed-launches.ts';
import { viewOf } from './reference/shared/access.ts';
import { Engine } from './simd/engine.ts';
import type { EngineOptions } from './simd/engine.ts';
import type { Packable } from './simd/packing.ts';

/** Options of cpu(). */
export interface CpuOptions extends EngineOptions, DeviceOptions {
  /** 'fast' (default): SIMD kernels where they exist; 'reference': plain loops in double precision only. */
  readonly kernels?: 'fast' | 'reference';
}

interface HeapBuffer extends Buffer {
  readonly at: number;
}
interface CpuKernel extends Kernel, Packable<Run> {}

const at = (slice: Slice): number => (slice.buffer as HeapBuffer).at + slice.offset;

class CpuBackend implements Backend {
  readonly name = 'cpu';
  readonly caps: Caps;
  readonly #engine: Engine;
  readonly #referenceOnly: boolean;
  readonly #live = new Set<Buffer>();
  readonly #packed = new PackedMemory();

  constructor(engine: Engine, referenceOnly: boolean) {
    this.#engine = engine;
    this.#referenceOnly = referenceOnly;
    const kernels = referenceOnly
      ? 'reference kernels'
      : `WebAssembly SIMD${engine.relaxed ? ', relaxed' : ''}`;
    this.caps = {
      convFormat: 'contiguous',
      rewrites: [],
      suballocate: true,
      poolBuffers: false,
      pinned: false,
      syncRead: true,
      maxBufferBytes: 2 ** 32 - 2 ** 16,
      maxBindings: 64,
      fingerprint: `${kernels}, ${engine.threads} thread${engine.threads === 1 ? '' : 's'}`,
    };
  }

  alloc(bytes: number): Buffer {
    const buffer: HeapBuffer = { bytes, at: this.#engine.alloc(bytes) };
    this.#live.add(buffer);
    return buffer;
  }
  free(buffer: Buffer): void {
    if (!this.#live.delete(buffer)) throw new DeviceError('cpu: buffer freed twice');
    this.#engine.free((buffer as HeapBuffer).at);
  }
  trim(): void {
    this.#packed.drop();
  }
  write(dst: Slice, src: Uint8Array): void {
    this.#engine.bytes.set(src, at(dst));
  }
  copy(dst: Slice, src: Slice): void {
    this.#engine.bytes.copyWithin(at(dst), at(src), at(src) + src.bytes);
  }
  readSync(src: Slice): Uint8Array {
    return this.#engine.bytes.slice(at(src), at(src) + src.bytes);
  }
  async read(src: Slice): Promise<Uint8Array> {
    return this.readSync(src);
  }

  choices(op: AnyOp, args: readonly ArgSpec[]): readonly Choice[] {
    const kernels = kernelsOf(op);
    if (!kernels) return [];
    const fast = this.#referenceOnly ? [] : (kernels.fast?.choices(op, args) ?? []);
    return fast.length > 0 ? fast.map((id) => ({ id })) : [{ id: 'reference' }];
  }

  prepare(op: AnyOp, args: readonly ArgSpec[], choice: Choice): CpuKernel {
    const { fast, reference } = kernelsOf(op)!;
    const label = `${op.kind}/${choice.id}`;
    if (choice.id !== 'reference') {
      const made = fast!.prepare(this.#engine, op, args, choice.id);
      const kernel = typeof made === 'function' ? { run: made } : made;
      return { key: `${opKey(op)} ${choice.id}`, label, ...kernel };
    }
    const run: Run = (pointers, scalars) => {
      const { buffer } = this.#engine.memory;
      reference(
        op,
        pointers.map((p, i) => viewOf(args[i]!, buffer, p)),
        scalars,
      );
    };
    return { key: `${opKey(op)} reference`, label, run };
  }

  run(kernel: Kernel, args: readonly Slice[], scalars: readonly number[]): void {
    (kernel as CpuKernel).run(args.map(at), scalars);
  }

  /** Launches with their addresses, whose fixed weights are packed once. */
  compile(launches: readonly PreparedLaunch[]): CompiledLaunches {
    const placed = launches.map(({ kernel, args, scalars, fixed }) => ({
      kernel: kernel as CpuKernel,
      pointers: args.map(at),
      scalars,
      fixed,
    }));
    return new PackedLaunches(this.#engine, this.#packed, placed);
  }

  createQueue(role: 'compute' | 'copy'): Queue {
    return { role };
  }
  fence(): void {}
  flush(): void {}
  async idle(): Promise<void> {}
  async time(work: () => void): Promise<number> {
    const start = performance.now();
    work();
    return performance.now() - start;
  }
  [Symbol.dispose](): void {
    this.#engine.dispose();
  }
}

/** Opens the CPU. Each call is a device of its own: memory, threads, kernel cache. */
export async function cpu(options: CpuOptions = {}): Promise<Device> {
  const engine = await Engine.create(options);
  const device = new Device(new CpuBackend(engine, options.kernels === 'reference'), options);
  await device.tuner.load();
  return device;
}
