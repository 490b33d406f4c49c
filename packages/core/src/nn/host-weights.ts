// Weights in host memory. The parameter is then an abstract tensor of its device, and a HostCopy holds the bytes,
// pinned where the device can pin. A tensor that was loaded from a HostCopy refers to it, so that unloading needs no
// copy back.

import type { Buffer, Queue, Slice } from '../backend.ts';
import type { Device } from '../device.ts';
import { allocate } from '../dispatch.ts';
import { dtypes } from '../dtype.ts';
import { OutOfMemoryError, UseAfterDisposeError } from '../errors.ts';
import { isDense, span } from '../layout.ts';
import type { Spec } from '../op.ts';
import { contiguous } from '../ops/copy.ts';
import { keep } from '../scope.ts';
import { Tensor } from '../tensor.ts';

const copies = new WeakMap<Tensor, HostCopy>();

/** The HostCopy of a parameter that is in host memory or was loaded from there; undefined for others. */
export const hostCopyOf = (parameter: Tensor): HostCopy | undefined => copies.get(parameter);

/** True for a parameter that is in host memory now. */
export const isOnHost = (parameter: Tensor): boolean => parameter.isAbstract && copies.has(parameter);

/**
 * The bytes of one parameter in host memory. Pinned memory of `device` holds them where the device can pin, ordinary
 * memory elsewhere. They stay until free(), also while the weights are loaded.
 */
export class HostCopy {
  /** Dtype and layout of the parameter. */
  readonly spec: Spec;
  /** The device that the parameter belongs to. */
  readonly device: Device;
  /** Size in bytes. */
  readonly bytes: number;
  #pinned: Buffer | undefined;
  #data: Uint8Array | undefined;

  constructor(spec: Spec, device: Device, data: Uint8Array) {
    this.spec = spec;
    this.device = device;
    this.bytes = data.byteLength;
    this.#pinned = data.byteLength > 0 ? pinned(device, data) : undefined;
    this.#data = this.#pinned ? undefined : data;
  }

  /** An abstract tensor that stands for the parameter while its weights are in host memory; the caller owns it. */
  placeholder(): Tensor {
    const { dtype, layout } = this.spec;
    const out = keep(new Tensor(dtype, layout, undefined, this.device));
    copies.set(out, this);
    return out;
  }

  /** An unfilled tensor for the weights on a device; the caller owns it. @throws OutOfMemoryError. */
  reserve(device: Device = this.device): Tensor {
    const out = keep(allocate(device, this.spec));
    if (device === this.device) copies.set(out, this);
    return out;
  }

  /**
   * Copies the weights into a tensor from reserve(), in the order of `queue` if one is given.
   * @throws UseAfterDisposeError after free().
   */
  fill(reserved: Tensor, queue?: Queue): void {
    if (this.bytes === 0) return;
    if (!this.#pinned && !this.#data)
      throw new UseAfterDisposeError(`load: the host copy of ${reserved.toString()} was freed`);
    const { device } = reserved;
    const to: Slice = { buffer: reserved.storage('load').buffer, offset: 0, bytes: this.bytes };
    const from = this.#pinned && { buffer: this.#pinned, offset: 0, bytes: this.bytes };
    if (from && device === this.device) device.backend.copy(to, from, queue);
    else device.backend.write(to, from ? this.device.backend.readSync!(from) : this.#data!, queue);
  }

  /** The weights on a device; the caller owns the tensor. @throws as reserve and fill. */
  load(device: Device = this.device): Tensor {
    const out = this.reserve(device);
    this.fill(out);
    return out;
  }

  /**
   * Frees the bytes; no parameter may use them afterwards. A second call does nothing, since modules may share a
   * weight.
   */
  free(): void {
    const pinned = this.#pinned;
    this.#data = this.#pinned = undefined;
    if (pinned && !this.device.isDisposed) this.device.backend.free(pinned);
  }
}

function pinned(device: Device, data: Uint8Array): Buffer | undefined {
  const { backend } = device;
  if (!backend.caps.pinned || !backend.readSync) return undefined;
  try {
    const buffer = backend.alloc(data.byteLength, 'pinned');
    backend.write({ buffer, offset: 0, bytes: data.byteLength }, data);
    return buffer;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return undefined; // ordinary memory serves too, if more slowly
    throw error;
  }
}

/**
 * An abstract parameter whose HostCopy holds the bytes of `x`; dense strides are kept, other layouts become contiguous.
 */
export async function toHost(x: Tensor): Promise<Tensor> {
  const dense = isDense(x.layout) ? x : contiguous(x);
  try {
    const size = dtypes[x.dtype].bytes;
    const { buffer } = dense.storage('toHost');
    const slice = { buffer, offset: dense.layout.offset * size, bytes: span(dense.layout) * size };
    const data = slice.bytes > 0 ? await x.device.backend.read(slice) : new Uint8Array(0);
    return new HostCopy(
      { dtype: x.dtype, layout: { ...dense.layout, offset: 0 } },
      x.device,
      data,
    ).placeholder();
  } finally {
    if (dense !== x) dense.dispose();
  }
}
