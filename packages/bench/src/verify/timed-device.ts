// Kernels timed one by one while they run in order: each stands between two events. Core's profile has host times only,
// since it never waits.

import type { Backend, Kernel } from '@darkroom/core/backend';

/** A kernel and its device time; the two events add one to two microseconds. */
export interface TimedKernel {
  readonly label: string;
  readonly ms: number;
}

/** Times every kernel that `work` enqueues, in order. @throws Error where timing waits for the device. */
export async function timedKernels(backend: Backend, work: () => void): Promise<readonly TimedKernel[]> {
  if (backend.name === 'webgpu')
    throw new Error('kernels: webgpu times by waiting, so kernels cannot be timed while they run in order');
  const own = Object.getOwnPropertyDescriptor(backend, 'run');
  const run = backend.run.bind(backend);
  const pending: Promise<TimedKernel>[] = [];
  backend.run = (kernel: Kernel, ...rest) => {
    const timed = backend.time(() => run(kernel, ...rest));
    pending.push(timed.then((ms) => ({ label: kernel.label, ms })));
  };
  try {
    work();
  } finally {
    if (own) Object.defineProperty(backend, 'run', own);
    else delete (backend as { run?: unknown }).run;
  }
  return Promise.all(pending);
}
