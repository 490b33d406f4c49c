// A backend with one method replaced for a while: how kernels and launches are watched.

import type { Backend } from '@darkroom/core/backend';

/** What `work` gives while `backend[name]` is `method`; the backend is as before afterwards. */
export function replaced<K extends 'run' | 'compile', T>(
  backend: Backend,
  name: K,
  method: NonNullable<Backend[K]>,
  work: () => T,
): T {
  const own = Object.getOwnPropertyDescriptor(backend, name);
  Object.defineProperty(backend, name, { value: method, configurable: true, writable: true });
  try {
    return work();
  } finally {
    if (own) Object.defineProperty(backend, name, own);
    else delete (backend as { -readonly [P in K]?: unknown })[name];
  }
}
