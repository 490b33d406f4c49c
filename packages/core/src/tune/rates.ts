// The rates that a device reaches with this library's largest product and copy, from which a plan's least time follows.
// Measured, since data sheets know neither the clock of today nor a software adapter.

import type { Device } from '../device.ts';
import type { DType } from '../dtype.ts';
import { copy } from '../ops/copy.ts';
import { full } from '../ops/fill.ts';
import { matmul } from '../ops/matmul.ts';
import { scope } from '../scope.ts';

/** Measured rates of a device. */
export interface Rates {
  /** Floating-point operations a second, by the dtype of the operands. */
  readonly flops: Readonly<Partial<Record<DType, number>>>;
  /** Bytes a second, read and written. */
  readonly bandwidth: number;
}

/** A product that takes this long is large enough. */
const enoughMs = 20;
const largest = 4096;
const copied = 64 << 20;
const turns = 3;
/** Runs go on for so long, at most so many: a GPU at rest has a fraction of its clock. */
const awakeMs = 60;
const mostTurns = 300;

/** The best of a few runs, each as large as some tens of milliseconds allow; the device should do nothing else. */
export async function measureRates(device: Device, dtypes: readonly DType[] = ['float32']): Promise<Rates> {
  const flops: Partial<Record<DType, number>> = {};
  for (const dtype of dtypes) flops[dtype] = await productRate(device, dtype);
  using source = full([copied / 4], 0, { device, dtype: 'float32' });
  const ms = await best(device, () => copy(source).dispose());
  return { flops, bandwidth: (2000 * copied) / ms };
}

async function productRate(device: Device, dtype: DType): Promise<number> {
  for (let n = 256; ; n *= 2) {
    using a = full([n, n], 1, { device, dtype });
    const ms = await best(device, () => matmul(a, a).dispose());
    if (ms >= enoughMs || n >= largest) return (2000 * n ** 3) / ms;
  }
}

async function best(device: Device, work: () => void): Promise<number> {
  const once = (): Promise<number> => device.backend.time(() => scope(work));
  await once(); // kernels are made, memory is taken
  let ms = Infinity;
  for (let i = 0, spent = 0; i < turns || (spent < awakeMs && i < mostTurns); i++) {
    const took = await once();
    spent += took;
    ms = Math.min(ms, took);
  }
  return Math.max(ms, 1e-6);
}
