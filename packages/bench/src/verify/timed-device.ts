// Kernels timed one by one while they run in order: each stands between two events. Core's profile has host times only,
// since it never waits.

import type { Backend } from '@darkroom/core/backend';
import { replaced } from './replaced.ts';

/** A kernel and its device time; the two events add one to two microseconds. */
export interface TimedKernel {
  readonly label: string;
  readonly ms: number;
}

/** Times every kernel that `work` enqueues, in order. @throws Error where timing waits for the device. */
export async function timedKernels(backend: Backend, work: () => void): Promise<readonly TimedKernel[]> {
  if (backend.name === 'webgpu')
    throw new Error('kernels: webgpu times by waiting, so kernels cannot be timed while they run in order');
  const run = backend.run.bind(backend);
  const pending: Promise<TimedKernel>[] = [];
  const timedRun: Backend['run'] = (kernel, ...rest) => {
    const timed = backend.time(() => run(kernel, ...rest));
    pending.push(timed.then((ms) => ({ label: kernel.label, ms })));
  };
  replaced(backend, 'run', timedRun, work);
  return Promise.all(pending);
}
