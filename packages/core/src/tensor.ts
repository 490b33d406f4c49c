// Tensor: storage + layout + dtype, its views, and reading it back. Arithmetic lives in ops/ as functions.
// A tensor without storage is abstract: the shape of a weight not loaded yet, or a value inside a trace.

import './dispose-symbol.ts';
import type { DataArray, DType } from './dtype.ts';
import { decode, dtypes } from './dtype.ts';
import { debug, log } from './debug.ts';
import type { Device } from './device.ts';
import { DarkroomError, DeviceError, formatShape, ShapeError, UseAfterDisposeError } from './errors.ts';
import type { Layout, MemoryFormat } from './layout.ts';
import {
  elementCount, expandLayout, layoutOf, memoryFormatOf, permuteLayout, reshapeLayout, resolveShape, sliceLayout,
} from './layout.ts'; // prettier-ignore
import type { Spec, ViewOp } from './op.ts';
import { currentScope } from './scope.ts';
import type { Owned, Scope } from './scope.ts';
import type { Storage } from './storage.ts';
import { activeRecorder } from './recorder.ts';

/**
 * Storage of tensors that were collected without dispose, freed at the next dispatch: the callback makes no driver
 * calls.
 */
const collected: Storage[] = [];
const registry = new FinalizationRegistry<{ storage: Storage; note: string }>(({ storage, note }) => {
  collected.push(storage);
  if (debug.leaks) log.warn(`leaked ${note}`);
});

/** Frees the memory of tensors that the garbage collector found; dispatch calls this. */
export function releaseCollected(): void {
  while (collected.length > 0) collected.pop()!.release();
}

/** Transposed layouts by layout, since a linear layer transposes its weight at every call. */
const transposes = new WeakMap<Layout, { readonly op: ViewOp; readonly layout: Layout }>();

/** Elements of one dtype in device memory, addressed by a layout. Views share memory; an abstract tensor has none. */
export class Tensor<D extends DType = DType> implements Owned {
  readonly dtype: D;
  readonly layout: Layout;
  #owner: Scope | undefined = undefined;
  #watched = false;
  readonly #madeAt: string;
  #storage: Storage | undefined;
  #disposed = false;
  readonly #device: Device | undefined;

  /** For the framework: takes one reference of `storage` over and joins the current scope. */
  constructor(dtype: D, layout: Layout, storage: Storage | undefined, device?: Device) {
    this.dtype = dtype;
    this.layout = layout;
    this.#storage = storage;
    this.#device = storage?.device ?? device;
    this.#madeAt = debug.leaks ? ` created at ${callSite()}` : '';
    const scope = currentScope();
    if (scope) scope.adopt(this);
    else this.#watch();
  }

  /** The scope that will dispose the tensor. Undefined: the caller disposes it, and a finalizer watches for leaks. */
  get owner(): Scope | undefined {
    return this.#owner;
  }
  set owner(scope: Scope | undefined) {
    this.#owner = scope;
    if (scope) this.#unwatch();
    else if (!this.#disposed) this.#watch();
  }

  /** Registers a finalizer for a tensor without a scope; scopes hold their tensors, so those are never collected. */
  #watch(): void {
    if (this.#watched || !this.#storage) return;
    this.#watched = true;
    const note = `${this.dtype}${formatShape(this.shape)}${this.#madeAt}`;
    registry.register(this, { storage: this.#storage, note }, this);
  }
  #unwatch(): void {
    if (!this.#watched) return;
    this.#watched = false;
    registry.unregister(this);
  }

  /** A tensor with shape and dtype but without memory. */
  static abstract<D extends DType>(dtype: D, shape: readonly number[], device?: Device): Tensor<D> {
    return new Tensor(dtype, layoutOf(shape), undefined, device);
  }

  /**
   * Gives an abstract tensor the memory of `result`, which must have its dtype and layout: a traced call records its
   * result first and computes it afterwards. Both tensors then share the memory.
   */
  realize(result: Tensor): void {
    const { layout } = this;
    const same =
      result.dtype === this.dtype &&
      result.layout.offset === layout.offset &&
      formatShape(result.shape) === formatShape(layout.shape) &&
      layout.strides.every((s, i) => s === result.strides[i] || layout.shape[i] === 1);
    if (!this.isAbstract || !same)
      throw new DarkroomError(`internal: ${this.toString()} cannot take the memory of ${result.toString()}`);
    this.#storage = result.storage('realize').retain();
    if (!this.#owner) this.#watch();
  }

  get shape(): readonly number[] {
    return this.layout.shape;
  }
  get strides(): readonly number[] {
    return this.layout.strides;
  }
  get rank(): number {
    return this.layout.shape.length;
  }
  get elements(): number {
    return elementCount(this.layout.shape);
  }
  get bytes(): number {
    return this.elements * dtypes[this.dtype].bytes;
  }
  get memoryFormat(): MemoryFormat | 'strided' {
    return memoryFormatOf(this.layout);
  }
  get isAbstract(): boolean {
    return this.#storage === undefined && !this.#disposed;
  }
  get isDisposed(): boolean {
    return this.#disposed;
  }
  get spec(): Spec {
    return { dtype: this.dtype, layout: this.layout };
  }
  /** The device of the tensor. @throws DeviceError for an abstract tensor without a device. */
  get device(): Device {
    if (!this.#device)
      throw new DeviceError(`device: ${this.toString()} is abstract and belongs to no device`);
    return this.#device;
  }
  get deviceOrNone(): Device | undefined {
    return this.#device;
  }

  /** The tensor's memory. @throws an error that names `user` when the tensor is disposed or abstract. */
  storage(user: string): Storage {
    if (this.#disposed) throw new UseAfterDisposeError(`${user}: ${this.toString()} was disposed`);
    if (!this.#storage) {
      throw new DeviceError(
        `${user}: ${this.toString()} has no data (a weight not loaded, or a value inside a trace)`,
      );
    }
    return this.#storage;
  }

  // Views: no data moves. Under a recorder each is recorded, so that graphs stay readable.

  /** The same elements under another shape (one dimension may be -1); throws when only a copy could do it. */
  view(shape: readonly number[]): Tensor<D> {
    const to = resolveShape('view', shape, this.elements, this.shape);
    const layout = reshapeLayout(this.layout, to);
    if (!layout) {
      throw new ShapeError(
        `view: ${formatShape(this.shape)} with strides ${formatShape(this.strides)} cannot be seen as ` +
          `${formatShape(to)} without a copy; use reshape()`,
      );
    }
    return this.viewAs({ kind: 'reshape', shape: to }, layout);
  }

  /** Dimensions reordered: result dimension i is dimension axes[i]. */
  permute(...axes: readonly number[]): Tensor<D> {
    return this.viewAs({ kind: 'permute', axes }, permuteLayout(this.layout, axes));
  }

  /** The last two dimensions swapped. */
  transpose(): Tensor<D> {
    let swapped = transposes.get(this.layout);
    if (!swapped) {
      const r = this.rank;
      const axes = Array.from({ length: r }, (_, i) => (i === r - 1 ? r - 2 : i === r - 2 ? r - 1 : i));
      swapped = { op: { kind: 'permute', axes }, layout: permuteLayout(this.layout, axes) };
      transposes.set(this.layout, swapped);
    }
    return this.viewAs(swapped.op, swapped.layout);
  }

  /** Broadcast to `shape` with stride 0. */
  expand(shape: readonly number[]): Tensor<D> {
    return this.viewAs({ kind: 'expand', shape }, expandLayout('expand', this.layout, shape));
  }

  /** Elements start … stop-1 along an axis (negative bounds count from the end). */
  slice(axis: number, start: number, stop: number = Infinity, step = 1): Tensor<D> {
    const end = stop === Infinity ? this.shape.at(axis)! : stop;
    const layout = sliceLayout(this.layout, axis, start, end, step);
    return this.viewAs({ kind: 'slice', axis, start, stop: end, step }, layout);
  }

  /** Equal consecutive parts along an axis. */
  chunk(parts: number, axis: number): Tensor<D>[] {
    const size = this.shape.at(axis)!;
    if (size % parts !== 0)
      throw new ShapeError(`chunk: axis ${axis} of ${formatShape(this.shape)} is not ${parts} × n`);
    const step = size / parts;
    return Array.from({ length: parts }, (_, i) => this.slice(axis, i * step, (i + 1) * step));
  }

  /** Another handle on the same memory, with its own lifetime. */
  alias(): Tensor<D> {
    return this.viewAs({ kind: 'reshape', shape: this.shape }, this.layout);
  }

  /** For the framework: the view `op` of this tensor, with the layout that the caller computed. */
  viewAs(op: ViewOp, layout: Layout): Tensor<D> {
    if (this.#disposed) this.storage(op.kind);
    const out = new Tensor(this.dtype, layout, this.#storage?.retain(), this.#device);
    activeRecorder()?.view(op, this, out);
    return out;
  }

  /** Values in row-major order of the logical shape; half types widened to float32. */
  async data(): Promise<DataArray> {
    const storage = this.storage('data');
    const bytes = await storage.device.read(storage.whole);
    return this.#pick(bytes);
  }

  /** As data(), at once; only where device.caps.syncRead. */
  dataSync(): DataArray {
    const storage = this.storage('dataSync');
    return this.#pick(storage.device.readSync(storage.whole));
  }

  #pick(bytes: Uint8Array): DataArray {
    const size = dtypes[this.dtype].bytes;
    const { shape, strides, offset } = this.layout;
    const n = this.elements;
    if (this.memoryFormat === 'contiguous') {
      return decode(bytes.subarray(offset * size, (offset + n) * size), this.dtype);
    }
    const all = decode(bytes, this.dtype);
    const out =
      all.slice(0, 0).constructor === Float32Array
        ? new Float32Array(n)
        : all instanceof Int32Array
          ? new Int32Array(n)
          : new Uint8Array(n);
    const index = new Array<number>(shape.length).fill(0);
    let at = offset;
    for (let i = 0; i < n; i++) {
      out[i] = all[at]!;
      for (let d = shape.length - 1; d >= 0; d--) {
        at += strides[d]!;
        if (++index[d]! < shape[d]!) break;
        at -= strides[d]! * shape[d]!;
        index[d] = 0;
      }
    }
    return out;
  }

  /** The single value of a one-element tensor. */
  async item(): Promise<number> {
    if (this.elements !== 1) throw new ShapeError(`item: needs one element, got ${formatShape(this.shape)}`);
    return (await this.data())[0]!;
  }

  /** Releases this tensor; the memory is freed with the last view of it. */
  dispose(): void {
    if (this.#disposed) {
      if (debug.strictDispose)
        throw new UseAfterDisposeError(`dispose: ${this.toString()} was disposed before`);
      return;
    }
    this.#disposed = true;
    this.#owner = undefined;
    this.#unwatch();
    this.#storage?.release();
    this.#storage = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    const format = this.memoryFormat === 'contiguous' ? '' : ` ${this.memoryFormat}`;
    return `${this.dtype}${formatShape(this.shape)}${format}`;
  }
}

function callSite(): string {
  const lines = new DarkroomError('').stack?.split('\n') ?? [];
  const outside = lines.slice(3).find((line) => !/[\\/]core[\\/](src|dist)[\\/](?!.*[.]test[.])/.test(line));
  return (outside ?? lines.at(-1) ?? '').trim().replace(/^at /, '');
}
