// The WebGPU backend: a driver over one GPUDevice. Kernels are prepared as data (kernels/), compiled when first run or
// by ready(), and appended to the encoder's pending batch; nothing waits but reads, idle and time.

import { DeviceError } from '@darkroom/core';
import { definitionOf, opKey } from '@darkroom/core/backend';
import type {
  ArgSpec,
  Backend,
  Buffer,
  Caps,
  Choice,
  CompiledLaunches,
  CustomOp,
  Kernel,
  KernelOp,
  PreparedLaunch,
  Queue,
  Slice,
} from '@darkroom/core/backend';
import {
  factoryOf,
  fillParams,
  gridOf,
  KernelVariants,
  ScratchBuffers,
  startsAtUnits,
} from '@darkroom/gpu-kernels';
import type { Binding, Dispatch, Traits } from '@darkroom/gpu-kernels';
import { waitsByPolling } from '#gpu';
import type { OpenedAdapter } from './adapter.ts';
import { Encoder } from './device/encoder.ts';
import { Faults } from './device/faults.ts';
import { Groups } from './device/groups.ts';
import type { Window } from './device/groups.ts';
import { Memory } from './device/memory.ts';
import type { GpuMemory } from './device/memory.ts';
import { Programs } from './device/programs.ts';
import { RecordedLaunches } from './device/recorded-launches.ts';
import type { CommandSink } from './device/recorded-launches.ts';
import type { Program } from './device/programs.ts';
import { Waits } from './device/waits.ts';
import { customGroups, customSource } from './custom.ts';
import { wgsl } from './wgsl.ts';

interface ProgramDispatch {
  readonly dispatch: Dispatch;
  readonly program: Program;
}
interface Prepared {
  readonly dispatches: readonly ProgramDispatch[];
  /** Bytes of each scratch buffer. */
  readonly scratch: readonly number[];
}
interface GpuKernel extends Kernel {
  readonly flops: number;
  readonly variants: KernelVariants<Prepared>;
}

/** Operations in one submit: some tenths of a second on a small GPU; on a software adapter, a second or two. */
const hardwareBudget = 2.5e11;
const softwareBudget = 1e10;

/** Measured on lavapipe. Hardware, not measured, pays for three dispatches instead of one: there only large ones. */
const softwareWinograd = { leastChannels: 16, leastTiles: 32 };
const hardwareWinograd = { leastChannels: 32, leastTiles: 512 };

const align = 256;
const startOf = (slice: Pick<Slice, 'offset'>): number => Math.floor(slice.offset / align) * align;
const memoryOf = (slice: Pick<Slice, 'buffer'>): GpuMemory => slice.buffer as GpuMemory;

/** The backend behind webgpu(): for benchmarks and tests that read its counters. */
export class WebGpuBackend implements Backend {
  readonly name = 'webgpu';
  readonly caps: Caps;
  readonly #device: GPUDevice;
  readonly #traits: Traits;
  readonly #faults: Faults;
  readonly #memory: Memory;
  readonly #programs: Programs;
  readonly #encoder: Encoder;
  readonly #groups: Groups;
  /**
   * Scratch buffers, shared by all kernels, which run one after the other; then buffers for copies of aliased
   * arguments.
   */
  readonly #scratch = new ScratchBuffers<GpuMemory>({
    alloc: (bytes) => this.#memory.alloc(bytes, 'scratch'),
    free: (buffer) => this.free(buffer),
    bytesOf: ({ gpu }) => gpu.size,
  });
  #reads = 0;
  readonly #waits = waitsByPolling ? new Waits() : undefined;
  /** Counters at the last wait for the device. */
  #waited = { dispatches: 0, flops: 0, firstRuns: 0 };
  #began: number | undefined;
  #disposed = false;

  constructor({ device, facts, traits }: OpenedAdapter) {
    this.#device = device;
    this.#traits = traits;
    this.#faults = new Faults(device);
    this.#memory = new Memory(device, this.#faults);
    this.#programs = new Programs(device, this.#faults);
    this.#encoder = new Encoder(device, facts.software ? softwareBudget : hardwareBudget);
    this.#groups = new Groups(device, this.#encoder.ring);
    this.caps = {
      convFormat: 'channelsLast',
      rewrites: [
        { pass: 'channelsLast' },
        { pass: 'winograd', options: facts.software ? softwareWinograd : hardwareWinograd },
        { pass: 'outputsAdjacent' },
      ],
      suballocate: false,
      poolBuffers: true,
      pinned: false,
      syncRead: false,
      maxBufferBytes: device.limits.maxBufferSize,
      maxBindings: traits.bindings,
      fingerprint: `${facts.description}${facts.software ? ', software' : ''}${traits.natives.has('float16') ? ', shader-f16' : ''}`,
    };
  }

  /** For benchmarks and tests: numbers of submits, reads, dispatches, programs and compiled programs so far. */
  get counters(): Readonly<Record<'submits' | 'reads' | 'dispatches' | 'programs' | 'compiled', number>> {
    const { submits, dispatches } = this.#encoder;
    return {
      submits,
      reads: this.#reads,
      dispatches,
      programs: this.#programs.count,
      compiled: this.#programs.compiled,
    };
  }

  alloc(bytes: number): Buffer {
    this.#faults.check();
    return this.#memory.alloc(bytes);
  }
  free(buffer: Buffer): void {
    const memory = buffer as GpuMemory;
    if (this.#encoder.uses(memory)) this.#encoder.submit();
    this.#groups.drop(memory);
    this.#memory.free(memory);
  }
  /** `dst` starts at a multiple of 4 bytes and is written to the end of its last word. */
  write(dst: Slice, src: Uint8Array): void {
    this.#aligned('write', dst.offset);
    this.#encoder.upload(memoryOf(dst), dst.offset, src);
  }
  copy(dst: Slice, src: Slice): void {
    this.#aligned('copy', dst.offset | src.offset);
    this.#copyWords(memoryOf(src), src.offset, memoryOf(dst), dst.offset, src.bytes);
  }
  async read(src: Slice): Promise<Uint8Array> {
    this.#faults.check();
    if (src.bytes === 0) return new Uint8Array(0);
    this.#reads++;
    const from = src.offset - (src.offset % 4);
    const bytes = Math.ceil((src.offset + src.bytes - from) / 4) * 4;
    const staging = this.#memory.staging(bytes);
    this.#encoder.copy(memoryOf(src).gpu, from, staging, 0, bytes);
    this.#encoder.submit();
    try {
      await this.#wait(() => staging.mapAsync(GPUMapMode.READ, 0, bytes));
    } catch (error) {
      await this.#faults.settle();
      throw new DeviceError(`webgpu: reading ${src.bytes} bytes failed: ${(error as Error).message}`);
    }
    const out = new Uint8Array(staging.getMappedRange(0, bytes)).slice(
      src.offset - from,
      src.offset - from + src.bytes,
    );
    staging.unmap();
    this.#memory.recycle(staging);
    await this.#faults.settle();
    return out;
  }

  #aligned(what: string, offset: number): void {
    if (offset % 4 !== 0)
      throw new DeviceError(`webgpu: ${what} at byte ${offset}: must start at a multiple of 4`);
  }
  #copyWords(src: GpuMemory, from: number, dst: GpuMemory, to: number, bytes: number): void {
    this.#encoder.copy(src.gpu, from, dst.gpu, to, Math.ceil(bytes / 4) * 4);
    this.#encoder.touch(src);
    this.#encoder.touch(dst);
  }

  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[] {
    if (op.kind === 'custom') return customSource(op, args) ? [{ id: op.name }] : [];
    const ids = factoryOf(op)?.choices(op, args, this.#traits) ?? [];
    return ids.map((id) => ({ id }));
  }

  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Kernel {
    const build = (wide: boolean): Prepared => {
      if (op.kind === 'custom') return this.#custom(op, args);
      const spec = factoryOf(op)!.prepare(op, args, choice.id, this.#traits, wide);
      const f16 = this.#traits.natives.has('float16');
      const dispatches = spec.dispatches.map((dispatch) => ({
        dispatch,
        program: this.#programs.of(wgsl(dispatch.text, f16)),
      }));
      return { dispatches, scratch: spec.scratch ?? [] };
    };
    const kernel: GpuKernel = {
      key: `${opKey(op)} ${choice.id}`,
      label: `${op.kind}/${choice.id}`,
      flops: definitionOf(op).cost(op, args.slice(0, -1)).flops,
      variants: new KernelVariants(build),
    };
    return kernel;
  }

  #custom(op: CustomOp, args: readonly ArgSpec[]): Prepared {
    const dispatch: Dispatch = {
      bindings: args.map((_, arg) => ({ arg, piece: 0 })),
      params: new Uint32Array(4),
      offsets: [],
      scalars: [],
      groups: customGroups(args),
    };
    const program = this.#programs.of(customSource(op, args)!);
    return { dispatches: [{ dispatch, program }], scratch: [] };
  }

  /** Compiles every prepared kernel that has not run yet. @throws DeviceError naming a kernel that does not compile. */
  async ready(): Promise<void> {
    await this.#programs.ready();
    this.#faults.check();
  }

  run(kernel: Kernel, args: readonly Slice[], scalars: readonly number[]): void {
    this.#began ??= performance.now();
    this.#encoder.account((kernel as GpuKernel).flops);
    this.#lower({ kernel, args, scalars }, this.#now);
  }

  /** Records launches: commands, bind groups and parameters are made once. */
  compile(launches: readonly PreparedLaunch[]): CompiledLaunches {
    return new RecordedLaunches({
      device: this.#device,
      encoder: this.#encoder,
      launches: launches.length,
      flops: (i) => (launches[i]!.kernel as GpuKernel).flops,
      lower: (i, sink) => this.#lower(launches[i]!, sink),
      pipeline: (program) => this.#programs.pipeline(program),
      scratch: () => this.#scratch.moves,
      begin: () => void (this.#began ??= performance.now()),
    });
  }

  /** The commands of one launch, in order. */
  #lower({ kernel, args, scalars }: Omit<PreparedLaunch, 'fixed'>, sink: CommandSink): void {
    const { variants } = kernel as GpuKernel;
    const slices = this.#unaliased(args, bindsAtSlices(variants.wide), sink);
    const startOfArgument = (arg: number): number => slices[arg]!.offset;
    const fits = variants.wide.dispatches.every(({ dispatch }) =>
      startsAtUnits(dispatch, slices.length, startOfArgument),
    );
    const { dispatches, scratch } = fits ? variants.wide : variants.plain;
    for (const [i, bytes] of scratch.entries()) this.#scratch.withRoom(i, bytes);
    const first = (arg: number, unitBytes: number): number =>
      arg < slices.length ? this.#firstUnit(slices[arg]!, unitBytes) : 0;
    for (const { dispatch, program } of dispatches) {
      if (dispatch.groups === 0) continue;
      const windows = dispatch.bindings.map((b) => this.#window(b, dispatch, slices));
      sink.dispatch(program, windows, gridOf(dispatch.groups), dispatch.params.length, (words, at) =>
        fillParams(dispatch, words, at, first, scalars),
      );
    }
  }

  /** Encodes commands into the pending batch, parameters into its ring. */
  readonly #now: CommandSink = {
    copy: (src, from, dst, to, bytes) => this.#copyWords(src, from, dst, to, bytes),
    dispatch: (program, windows, { x, y }, words, fill) => {
      const encoder = this.#encoder;
      const window = Encoder.window(words);
      const at = encoder.reserve(window);
      fill(encoder.words, at / 4);
      const group = this.#groups.of(program, window, windows);
      for (const { memory } of windows) encoder.touch(memory);
      encoder.dispatch(this.#programs.pipeline(program), group, [at], x, y);
    },
  };

  /** The start of a slice within its first binding, in units of a shader's array. */
  #firstUnit(slice: Slice, unitBytes: number): number {
    const whole = memoryOf(slice).gpu.size <= this.#traits.bindingBytes;
    return (slice.offset - (whole ? 0 : startOf(slice))) / unitBytes;
  }

  /** The part of a buffer that one binding covers: all of it where the device allows, else from the slice on. */
  #window({ arg, piece }: Binding, dispatch: Dispatch, slices: readonly Slice[]): Window {
    const scratch = arg - slices.length;
    const slice = slices[arg] ?? { buffer: this.#scratch.get(scratch)!, offset: 0 };
    const memory = memoryOf(slice);
    const { size } = memory.gpu;
    const { bindingBytes } = this.#traits;
    if (isCustom(dispatch)) return { memory, offset: slice.offset, bytes: size - slice.offset };
    const first = size <= bindingBytes ? 0 : startOf(slice);
    const offset = first + piece * bindingBytes;
    if (piece > 0 && offset >= size) {
      // The argument ended in the piece before; the shader never reads this binding, but WebGPU requires one. Inputs
      // share one spare buffer, outputs have their own: a dispatch may not read and write a buffer, nor write it twice.
      const spare = this.#scratch.withRoom(spareScratch + Math.max(0, scratch + 2), align);
      return { memory: spare, offset: 0, bytes: spare.gpu.size };
    }
    return { memory, offset, bytes: Math.min(bindingBytes, size - offset) };
  }

  /**
   * A dispatch may not read and write one buffer: inputs in the output's buffer are copied first. A user's own kernel
   * binds its arguments where they start, which must be a multiple of 256.
   */
  #unaliased(args: readonly Slice[], custom: boolean, sink: CommandSink): readonly Slice[] {
    const out = args.at(-1)!.buffer;
    let copies: Slice[] | undefined;
    for (let i = 0; i < args.length - 1; i++) {
      const bindable = !custom || args[i]!.offset % align === 0;
      if ((args[i]!.buffer !== out && bindable) || args[i]!.bytes === 0) continue;
      const { offset, bytes } = args[i]!;
      const from = offset - (offset % 4);
      const copy = this.#scratch.withRoom(aliasScratch + i, offset - from + bytes + 4);
      sink.copy(memoryOf(args[i]!), from, copy, 0, offset - from + bytes);
      copies ??= [...args];
      copies[i] = { buffer: copy, offset: offset - from, bytes };
    }
    return copies ?? args;
  }

  createQueue(role: 'compute' | 'copy'): Queue {
    return { role };
  }
  /** Nothing to do: the only queue keeps its order. */
  fence(): void {}
  flush(): void {
    this.#encoder.submit();
    this.#faults.check();
  }
  async idle(): Promise<void> {
    this.#encoder.submit();
    await this.#wait(() => this.#device.queue.onSubmittedWorkDone());
    await this.#faults.settle();
  }
  /** Waits for the commands encoded since the last wait. */
  async #wait(done: () => Promise<unknown>): Promise<void> {
    if (!this.#waits) return void (await done());
    const { dispatches, flops } = this.#encoder;
    const { firstRuns } = this.#programs;
    const batch = {
      dispatches: dispatches - this.#waited.dispatches,
      flops: flops - this.#waited.flops,
      firstRuns: firstRuns - this.#waited.firstRuns,
    };
    const since = this.#began ?? performance.now();
    this.#waited = { dispatches, flops, firstRuns };
    this.#began = undefined;
    await this.#waits.wait(batch, since, done);
  }
  async time(work: () => void): Promise<number> {
    await this.idle();
    const start = performance.now();
    work();
    await this.idle();
    return performance.now() - start;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#encoder.submit();
    this.#faults.dispose();
    this.#device.destroy();
  }
}

/** A user's own kernel has no parameters: its arguments are bound where they start. */
const isCustom = ({ offsets }: Dispatch): boolean => offsets.length === 0;
const bindsAtSlices = ({ dispatches }: Prepared): boolean =>
  dispatches.length === 1 && isCustom(dispatches[0]!.dispatch);

/** Scratch numbers that no kernel uses: for a binding nobody reads, and for copies of aliased arguments. */
const spareScratch = 4;
const aliasScratch = 8;
