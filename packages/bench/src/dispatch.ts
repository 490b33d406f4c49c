// bench dispatch: the host's time for one op before its kernel is enqueued: checks, look-up of its kernel, memory for
// its result. On a backend that does nothing, with the shapes of a small UNet; kernels are prepared in the first run.

import {
  add, attention, cast, concat, conv2d, Device, groupNorm, layerNorm, linear, matmul, mul, nullBackend, Scope, scope, silu,
  softmax, zeros,
} from '@darkroom/core'; // prettier-ignore
import type { Tensor } from '@darkroom/core';

/** Host nanoseconds of one dispatch: the fastest sample, and the median. */
export interface DispatchRow {
  readonly name: string;
  readonly fastestNs: number;
  readonly medianNs: number;
}

/** Dispatches of one sample. */
const calls = 2000;
/** Dispatches whose results live at once, as those of a module do. */
const together = 20;

/** A device whose kernels do nothing, and are not written down. */
function idleDevice(): Device {
  return new Device(Object.assign(nullBackend({ poolBuffers: false }), { run: () => {} }));
}

function works(device: Device): Readonly<Record<string, () => Tensor>> {
  const make = (...shape: number[]): Tensor => zeros(shape, { device });
  const [image, kernel, channels] = [make(2, 32, 16, 16), make(32, 32, 3, 3), make(32)];
  const [rows, weight, features] = [make(2, 256, 32), make(64, 32), make(64)];
  const [query, residual] = [make(2, 4, 256, 8), make(2, 256, 64)];
  return {
    'conv2d + bias': () => conv2d(image, kernel, { bias: channels, padding: 1 }),
    'linear + bias': () => linear(rows, weight, { bias: features }),
    'linear + bias + residual': () => linear(rows, weight, { bias: features, residual }),
    matmul: () => matmul(rows, rows.transpose()),
    'groupNorm + silu': () => groupNorm(image, 8, { weight: channels, bias: channels, activation: 'silu' }),
    layerNorm: () => layerNorm(rows, { weight: channels, bias: channels }),
    attention: () => attention(query, query, query),
    softmax: () => softmax(rows),
    silu: () => silu(image),
    add: () => add(image, image),
    'mul by a number': () => mul(image, 0.5),
    concat: () => concat([image, image], 1),
    cast: () => cast(image, 'float16'),
  };
}

/** `seconds`: for each op, in samples that take turns. */
export function benchDispatch({ seconds = 1 }: { readonly seconds?: number } = {}): DispatchRow[] {
  const device = idleDevice();
  using memory = new Scope();
  const ops = Object.entries(memory.run(() => works(device)));
  const samples = new Map<string, number[]>(ops.map(([name]) => [name, []]));
  const once = (work: () => Tensor): number => {
    const start = performance.now();
    for (let i = 0; i < calls; i += together)
      scope(() => {
        for (let k = 0; k < together; k++) work();
      });
    return (1e6 * (performance.now() - start)) / calls;
  };
  const end = performance.now() + 1000 * seconds * ops.length;
  for (const [, work] of ops) once(work); // kernels are prepared, the code is compiled
  do for (const [name, work] of ops) samples.get(name)!.push(once(work));
  while (performance.now() < end);
  device[Symbol.dispose]();
  return ops.map(([name]) => {
    const sorted = samples.get(name)!.toSorted((a, b) => a - b);
    return { name, fastestNs: sorted[0]!, medianNs: sorted[sorted.length >> 1]! };
  });
}
