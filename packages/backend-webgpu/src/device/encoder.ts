// The one pending batch of commands. Dispatches, copies and small uploads are appended; a submit happens only when:
//   1. the host waits for a result (read, idle, time) or asks for it (flush);
//   2. a large upload goes to memory that the batch uses (small ones travel inside the batch);
//   3. memory that the batch uses is destroyed;
//   4. the batch's ring of parameters is full;
//   5. the batch's estimated work would keep the device busy long enough for a browser's watchdog to step in.

import type { GpuMemory } from './memory.ts';

/** Bytes of parameters and small uploads in one batch. */
const ringBytes = 2 ** 20;
/** Uploads up to this size may travel in the ring. */
const smallUpload = 2 ** 14;
/** Parameters are bound in windows of this size, at multiples of it. */
const slot = 256;

export class Encoder {
  /** Batches submitted so far. */
  submits = 0;
  /** Dispatches encoded so far. */
  dispatches = 0;
  readonly #device: GPUDevice;
  readonly #budget: number;
  readonly ring: GPUBuffer;
  readonly #mirror = new Uint8Array(ringBytes);
  readonly #words = new Uint32Array(this.#mirror.buffer);
  #used = 0;
  #serial = 0;
  #work = 0;
  /** Floating-point operations of all batches. */
  #flops = 0;
  #commands: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #pipeline: GPUComputePipeline | undefined;

  /** `budget`: floating-point operations in one batch. */
  constructor(device: GPUDevice, budget: number) {
    this.#device = device;
    this.#budget = budget;
    this.ring = device.createBuffer({
      label: 'parameters',
      size: ringBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
  }

  /** Number of the batch that is being encoded. */
  get serial(): number {
    return this.#serial;
  }
  /** True while commands wait for a submit. */
  get pending(): boolean {
    return this.#commands !== undefined;
  }
  uses(memory: GpuMemory): boolean {
    return memory.usedIn === this.#serial && this.pending;
  }
  /** Bytes of a parameter window that holds `words`. */
  static window(words: number): number {
    return Math.ceil((words * 4) / slot) * slot;
  }

  /** Room in the ring; submits first when there is none. Gives the byte offset; `fill` through `words`. */
  reserve(bytes: number): number {
    if (this.#used + bytes > ringBytes) this.submit();
    const at = this.#used;
    this.#used += Math.ceil(bytes / slot) * slot;
    return at;
  }
  get words(): Uint32Array {
    return this.#words;
  }

  touch(memory: GpuMemory): void {
    memory.usedIn = this.#serial;
  }

  /** Encodes one dispatch; `offsets` has the place of its parameters in the group's buffer. */
  dispatch(
    pipeline: GPUComputePipeline,
    group: GPUBindGroup,
    offsets: readonly [number],
    x: number,
    y: number,
  ): void {
    const pass = (this.#pass ??= this.#encoder().beginComputePass());
    if (this.#pipeline !== pipeline) {
      pass.setPipeline(pipeline);
      this.#pipeline = pipeline;
    }
    pass.setBindGroup(0, group, offsets);
    pass.dispatchWorkgroups(x, y);
    this.dispatches++;
  }

  /** Called before the dispatches of a kernel: submits when the batch has work enough (rule 5). */
  account(flops: number): void {
    if (this.#work > 0 && this.#work + flops > this.#budget) this.submit();
    this.#work += flops;
    this.#flops += flops;
  }
  /** Floating-point operations encoded so far. */
  get flops(): number {
    return this.#flops;
  }

  copy(src: GPUBuffer, from: number, dst: GPUBuffer, to: number, bytes: number): void {
    this.#endPass();
    this.#encoder().copyBufferToBuffer(src, from, dst, to, bytes);
  }

  /** Host → device, in order. Offsets are multiples of 4; the last word is written whole. */
  upload(dst: GpuMemory, offset: number, src: Uint8Array): void {
    if (this.uses(dst) && src.byteLength <= smallUpload) {
      const padded = Math.ceil(src.byteLength / 4) * 4;
      const at = this.reserve(padded);
      this.#mirror.set(src, at);
      this.copy(this.ring, at, dst.gpu, offset, padded);
      this.touch(dst);
      return;
    }
    if (this.uses(dst)) this.submit();
    const whole = src.byteLength - (src.byteLength % 4);
    const { queue } = this.#device;
    // Dawn refuses views of shared memory, which is what a CPU device's readback may be.
    const own = src.buffer instanceof ArrayBuffer ? (src as Uint8Array<ArrayBuffer>) : new Uint8Array(src);
    if (whole > 0) queue.writeBuffer(dst.gpu, offset, own, 0, whole);
    if (whole < own.byteLength) {
      const tail = new Uint8Array(4);
      tail.set(own.subarray(whole));
      queue.writeBuffer(dst.gpu, offset + whole, tail);
    }
  }

  submit(): void {
    if (!this.#commands) return;
    this.#endPass();
    if (this.#used > 0) this.#device.queue.writeBuffer(this.ring, 0, this.#mirror, 0, this.#used);
    this.#device.queue.submit([this.#commands.finish()]);
    this.#commands = undefined;
    this.#used = 0;
    this.#work = 0;
    this.#serial++;
    this.submits++;
  }

  #encoder(): GPUCommandEncoder {
    return (this.#commands ??= this.#device.createCommandEncoder());
  }
  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#pipeline = undefined;
  }
}
