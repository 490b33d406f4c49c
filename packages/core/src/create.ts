// Tensors from host data, and moving them between devices and dtypes.

import type { MemoryFormat } from './layout.ts';
import { elementCount, layoutOf, span } from './layout.ts';
import type { Device } from './device.ts';
import { allocate } from './dispatch.ts';
import type { DType } from './dtype.ts';
import { dtypes, encode } from './dtype.ts';
import { formatShape, ShapeError } from './errors.ts';
import { cast, copy, toFormat } from './ops/copy.ts';
import type { Tensor } from './tensor.ts';

/** Values in row-major order → a contiguous tensor. */
export function tensor(
  values: ArrayLike<number>,
  options: { shape?: readonly number[]; dtype?: DType; device: Device },
): Tensor {
  const shape = options.shape ?? [values.length];
  if (elementCount(shape) !== values.length) {
    throw new ShapeError(`tensor: ${values.length} values do not fill ${formatShape(shape)}`);
  }
  const dtype =
    options.dtype ??
    (values instanceof Int32Array ? 'int32' : values instanceof Uint8Array ? 'uint8' : 'float32');
  return tensorFromBytes(encode(values, dtype), shape, dtype, options.device);
}

/** Little-endian element bytes → a contiguous tensor; `bytes` may be reused at once. */
export function tensorFromBytes(
  bytes: Uint8Array,
  shape: readonly number[],
  dtype: DType,
  device: Device,
): Tensor {
  const layout = layoutOf(shape);
  const need = span(layout) * dtypes[dtype].bytes;
  if (bytes.byteLength !== need) {
    throw new ShapeError(
      `tensor: ${dtype}${formatShape(shape)} takes ${need} bytes, got ${bytes.byteLength}`,
    );
  }
  const out = allocate(device, { dtype, layout });
  if (need > 0) device.backend.write({ buffer: out.storage('tensor').buffer, offset: 0, bytes: need }, bytes);
  return out;
}

/** Target device, dtype and memory format; an omitted one is kept. */
export interface ToOptions {
  readonly device?: Device;
  readonly dtype?: DType;
  readonly memoryFormat?: MemoryFormat;
}

/**
 * x on another device, in another dtype or format; always a new handle, on the same memory where nothing changes.
 * Between devices the bytes go through the host, so the source device must read synchronously (or use toAsync).
 */
export function to(x: Tensor, options: ToOptions): Tensor {
  if (options.device && options.device !== x.device) {
    const moved = transferBytes(x, x.device.readSync(x.storage('to').whole), options.device);
    return convert(moved, options, true);
  }
  return convert(x, options, false);
}

/** Moves or converts as to() does, also from devices that read only asynchronously. */
export async function toAsync(x: Tensor, options: ToOptions): Promise<Tensor> {
  if (options.device && options.device !== x.device) {
    return convert(
      transferBytes(x, await x.device.read(x.storage('to').whole), options.device),
      options,
      true,
    );
  }
  return convert(x, options, false);
}

/** The same elements, strides kept when they are dense, on `device`. */
function transferBytes(x: Tensor, bytes: Uint8Array, device: Device): Tensor {
  const size = dtypes[x.dtype].bytes;
  const from = x.layout.offset * size;
  const need = span(x.layout) * size;
  const out = allocate(device, { dtype: x.dtype, layout: { ...x.layout, offset: 0 } });
  if (need > 0) {
    device.backend.write(
      { buffer: out.storage('to').buffer, offset: 0, bytes: need },
      bytes.subarray(from, from + need),
    );
  }
  return out;
}

function convert(x: Tensor, { dtype, memoryFormat }: ToOptions, owned: boolean): Tensor {
  const recast = dtype !== undefined && dtype !== x.dtype;
  const out = recast
    ? copy(x, { dtype, ...(memoryFormat && x.rank === 4 && { format: memoryFormat }) })
    : memoryFormat && x.rank === 4
      ? toFormat(x, memoryFormat)
      : cast(x, x.dtype);
  if (owned) x.dispose();
  return out;
}
