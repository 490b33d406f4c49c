// The Backend interface: a device driver. A backend allocates, copies, runs kernels and orders work. Tensors, modules,
// tracing and type promotion are core's; core also caches the kernels of `prepare` and allocates outputs.

import type { DType } from './dtype.ts';
import type { Layout, MemoryFormat } from './layout.ts';
import type { AnyOp } from './op.ts';

declare const brand: unique symbol;
/** Device memory, opaque to core. Each backend casts in one private function. */
export interface Buffer {
  readonly [brand]?: 'buffer';
  readonly bytes: number;
}
/** An ordered stream of work, opaque to core. */
export interface Queue {
  readonly [brand]?: 'queue';
  readonly role: 'compute' | 'copy';
}

/** Part of a buffer. Sizes and offsets in bytes. */
export interface Slice {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Dtype and layout of one argument, on which a kernel is specialised. The layout's offset is 0; the Slice has the
 * offset.
 */
export interface ArgSpec {
  readonly dtype: DType;
  readonly layout: Layout;
}

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** One kernel for an op: an engine, an algorithm, a tile shape. Plain data, so that it can be kept on disk. */
export interface Choice {
  readonly id: string;
  readonly params?: Json;
  readonly workspaceBytes?: number;
}

/** A prepared kernel. Kernels of equal `key` are the same; `label` names op, engine and variant for people. */
export interface Kernel {
  readonly key: string;
  readonly label: string;
}

/** One kernel call of a plan with its arguments and numbers, which repeats at every replay. */
export interface PreparedLaunch {
  readonly kernel: Kernel;
  readonly args: readonly Slice[];
  readonly scalars: readonly number[];
  /** By argument: true if its elements never change between runs (weights). */
  readonly fixed: readonly boolean[];
}

/** A list of launches as one unit. `run` enqueues all of them and does not wait. */
export interface CompiledLaunches {
  /** Bytes of device memory that hold fixed arguments again, packed for the kernels. */
  readonly packedBytes?: number;
  run(): void;
  [Symbol.dispose](): void;
}

/**
 * A graph pass that a device asks for. 'channelsLast': images run with their channels adjacent. 'outputsAdjacent':
 * weights are copied so that the outputs of a product are adjacent in memory. 'winograd': 3x3 convolutions of at least
 * `leastChannels` channels and `leastTiles` tiles of 2x2 outputs run by Winograd's method, which needs a kernel for
 * that op.
 */
export type Rewrite =
  | { readonly pass: 'channelsLast' | 'outputsAdjacent' }
  | {
      readonly pass: 'winograd';
      readonly options: { readonly leastChannels: number; readonly leastTiles: number };
    };

/** Abilities of a backend, and the choices of core that depend on them. */
export interface Caps {
  /** Preferred format for convolutions: 'channelsLast' on tensor cores. */
  readonly convFormat: MemoryFormat;
  /**
   * Graph passes for this device's kernels, in order, which traces run beside the passes of every device.
   */
  readonly rewrites: readonly Rewrite[];
  /** False where usage is validated per whole buffer (WebGPU): plans then colour buffers instead of offsets. */
  readonly suballocate: boolean;
  /** True when `alloc` is costly, so that core keeps freed buffers for reuse. */
  readonly poolBuffers: boolean;
  readonly pinned: boolean;
  /** True when `readSync` exists. */
  readonly syncRead: boolean;
  readonly maxBufferBytes: number;
  /** Buffers that one kernel can bind: inputs, outputs and run-time numbers. */
  readonly maxBindings: number;
  /** Device, driver and library versions: the key of the tune cache. */
  readonly fingerprint: string;
}

/** A device driver. Methods throw DeviceError, with library, call and code, when the device fails. */
export interface Backend {
  /** 'cpu', 'cuda', 'webgpu', 'null'. */
  readonly name: string;
  readonly caps: Caps;

  /** New memory, contents undefined. @throws OutOfMemoryError; core then empties its cache and tries once more. */
  alloc(bytes: number, where?: 'device' | 'pinned'): Buffer;
  /**
   * For backends with a pool of their own: bytes that the pool took from the system. `trim` gives back the unused ones.
   */
  reserved?(): number;
  trim?(): void;
  /** Frees a buffer; its memory may be reused only by later work on the same queue. */
  free(buffer: Buffer): void;
  /** Host → device, ordered with the queue; `src` may be reused at once. */
  write(dst: Slice, src: Uint8Array, queue?: Queue): void;
  /** Device → device, ordered with the queue. */
  copy(dst: Slice, src: Slice, queue?: Queue): void;
  /** Device → host after all work queued so far. The only asynchronous data call. */
  read(src: Slice): Promise<Uint8Array>;
  /** Present iff caps.syncRead. */
  readSync?(src: Slice): Uint8Array;

  /** Kernels for `op` on these arguments (inputs, then outputs), best guess first; [] = core decomposes. */
  choices(op: AnyOp, args: readonly ArgSpec[]): readonly Choice[];
  /** Builds the kernel for one choice; called once per key. */
  prepare(op: AnyOp, args: readonly ArgSpec[], choice: Choice): Kernel;
  /** Resolves when all kernels prepared so far are compiled. Absent where `prepare` compiles at once. */
  ready?(): Promise<void>;
  /** Enqueues; never waits. `scalars` are opScalars(op). */
  run(kernel: Kernel, args: readonly Slice[], scalars: readonly number[], queue?: Queue): void;

  /**
   * Compiles launches whose kernels, addresses and numbers do not change into one replay (a captured CUDA graph).
   * Absent where running them one by one is as fast.
   */
  compile?(launches: readonly PreparedLaunch[]): CompiledLaunches;

  /** A queue; core asks for at most one of each role. */
  createQueue(role: 'compute' | 'copy'): Queue;
  /** Work on `before` waits for what is queued on `after`. */
  fence(after: Queue, before: Queue): void;
  /** Submits batched commands. */
  flush(): void;
  /** Resolves when all queued work is done. */
  idle(): Promise<void>;
  /** Device milliseconds of the work enqueued by `work`. */
  time(work: () => void): Promise<number>;
  /** Frees everything; later calls throw DeviceError. */
  [Symbol.dispose](): void;
}
