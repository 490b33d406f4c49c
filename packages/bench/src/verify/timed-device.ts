// A device whose kernels are timed one by one while they run in order: a backend around the backend. Core's profile has
// host times only, since it never waits; here every kernel stands between two events.

import { Device } from '@darkroom/core';
import type { TuneStore } from '@darkroom/core';
import type { Backend, Kernel, Slice } from '@darkroom/core/backend';

export interface TimedDevice {
  readonly device: Device;
  /** Waits for all kernels so far; gives the time of each, in order, and forgets them. */
  readonly take: () => Promise<readonly { readonly label: string; readonly ms: number }[]>;
}

/** Shares `inner`'s backend and owns nothing of it. @throws Error where timing waits for the device. */
export async function timedDevice(inner: Device, tuneStore: TuneStore): Promise<TimedDevice> {
  const { backend } = inner;
  if (backend.name === 'webgpu')
    throw new Error('kernels: webgpu times by waiting, so kernels cannot be timed while they run in order');
  let pending: Promise<{ label: string; ms: number }>[] = [];
  const run: Backend['run'] = (kernel: Kernel, args: readonly Slice[], scalars, queue) => {
    const timed = backend.time(() => backend.run(kernel, args, scalars, queue));
    pending.push(timed.then((ms) => ({ label: kernel.label, ms })));
  };
  const device = new Device(
    new Proxy(backend, {
      get(target, key): unknown {
        if (key === 'run') return run;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    }),
    { autotune: inner.autotune, tuneStore },
  );
  await device.tuner.load();
  Object.assign(device.precision, inner.precision);
  return {
    device,
    take: async () => {
      const done = await Promise.all(pending);
      pending = [];
      return done;
    },
  };
}
