// The order of prefetching, watched from the backend: memory that a copy still fills is given back only when what
// computes from then on waits for that copy.

import { Device, Linear, Module, nullBackend, ones } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { Backend, Buffer } from '@darkroom/core/backend';
import { expect, test } from 'vitest';
import { SequentialOffload } from './sequential.ts';

/** Leaves a, b and c; a call runs a, then one of the others. */
class Branches extends Module<[x: Tensor, other: boolean], Tensor> {
  a = new Linear(8, 8);
  b = new Linear(8, 8);
  c = new Linear(8, 8);
  override forward(x: Tensor, other: boolean): Tensor {
    const h = this.a.call(x);
    return other ? this.c.call(h) : this.b.call(h);
  }
}

/** A backend that keeps note of copies under way on the copy queue, and of frees that did not wait for them. */
function watched(): { backend: Backend; prefetched: () => number; tooEarly: () => number } {
  const base = nullBackend({ poolBuffers: false });
  const underWay = new Set<Buffer>();
  let [prefetched, tooEarly] = [0, 0];
  const backend: Backend = {
    ...base,
    write(dst, src, queue) {
      base.write(dst, src, queue);
      if (queue?.role !== 'copy') return;
      prefetched++;
      underWay.add(dst.buffer);
    },
    fence(after, before) {
      if (after.role === 'copy' && before.role === 'compute') underWay.clear();
    },
    free(buffer) {
      if (underWay.has(buffer)) tooEarly++;
      base.free(buffer);
    },
    read: async ({ bytes }) => new Uint8Array(bytes),
  };
  return { backend, prefetched: () => prefetched, tooEarly: () => tooEarly };
}

test.each([
  ['the guess was right', [false, false]],
  ['another layer came next', [false, true]],
])('prefetched memory is not given back while it is filled: %s', async (_, calls) => {
  const { backend, prefetched, tooEarly } = watched();
  const device = new Device(backend);
  const model = new Branches();
  for (const [, leaf] of model.namedModules())
    for (const [key, p] of [...leaf.ownParameters()]) leaf.setParameter(key, ones(p.shape, { device }));
  await model.toHost();
  const offload = new SequentialOffload({ model });
  const x = ones([1, 8], { device });
  const run = (other: boolean): void => model.call(x, other).dispose();
  run(false); // learns the order
  offload.finish();
  for (const other of calls) run(other);
  expect(prefetched()).toBeGreaterThan(0);
  offload.leave();
  expect(tooEarly()).toBe(0);
  x.dispose();
  model.dispose();
});
