// Worker threads that die: the caller gets a DeviceError instead of waiting for ever, and the device stays lost.

import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DeviceError, full, log, matmul } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { cpu } from '../backend.ts';
import { Engine } from './engine.ts';
import { control } from './threads.ts';

let workers: Worker[];
beforeEach(() => {
  workers = [];
  const { postMessage } = Worker.prototype;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...args) {
    workers.push(this);
    postMessage.apply(this, args);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Large enough for every thread to have a part. */
function product(device: Device, size = 512): void {
  const [a, b] = [full([size, size], 2, { device }), full([size, size], 3, { device })];
  try {
    matmul(a, b).dispose();
  } finally {
    a.dispose();
    b.dispose();
  }
}
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200));
const counts = [2, 3, 4].flatMap((threads) =>
  Array.from({ length: threads - 1 }, (_, which) => [threads, which]),
);

describe.each(counts as [number, number][])('of %i threads, worker %i dies', (threads, which) => {
  test('while the caller does not look up: it waits no longer', async () => {
    const device = await cpu({ threads });
    product(device);
    void workers[which]!.terminate(); // the event loop does not turn before the next kernel
    expect(() => product(device)).toThrow(DeviceError);
    expect(() => product(device)).toThrow('cpu: the device is lost');
    device[Symbol.dispose]();
  });

  test('between kernels: the next one says so, and so does asking for memory', async () => {
    const device = await cpu({ threads });
    await workers[which]!.terminate();
    await turn();
    const message = `worker thread ${which + 1} of ${threads - 1} ended (exit code 1); open another one with cpu()`;
    expect(() => full([1], 1, { device })).toThrow(message);
    expect(() => product(device)).toThrow(message);
    device[Symbol.dispose]();
  });

  test('while the device is opened: opening fails', async () => {
    const opening = cpu({ threads });
    await vi.waitFor(() => expect(workers.length).toBe(threads - 1));
    void workers[which]!.terminate();
    const outcome = await opening.then(
      (device) => device,
      (error: unknown) => error,
    );
    // The worker may have said just before that it is ready.
    if (outcome instanceof Error)
      expect(outcome.message).toMatch(/^cpu: worker thread \d of \d did not start/);
    else {
      await turn();
      expect(() => product(outcome as Device)).toThrow('cpu: the device is lost');
    }
  });
});

test('a worker that could not run its tiles loses the device too', async () => {
  const engine = await Engine.create({ threads: 2 });
  const nothing = engine.code('nothing', (m) => void m.add(['i32', 'i32', 'i32'], () => {}, 'tile'));
  engine.run(nothing, [], 4, 1e9);
  Atomics.add(new Int32Array(engine.memory.buffer, 0, 16), control.failed, 1); // as a worker does in its catch
  expect(() => engine.run(nothing, [], 4, 1e9)).toThrow('a worker thread failed while a kernel ran');
  expect(() => engine.alloc(1)).toThrow('cpu: the device is lost: a worker thread failed');
  engine.dispose();
});

test.each([0, -1, 33, 64, 1.5, NaN, '2'])('threads: %j is refused', async (threads) => {
  await expect(cpu({ threads: threads as number })).rejects.toThrow(
    /^cpu: threads must be an integer from 1 to 32, got /,
  );
});

test('threads that cannot be had are told of', async () => {
  vi.stubGlobal('SharedArrayBuffer', undefined);
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const device = await cpu({ threads: 4 });
  expect(warn.mock.calls.flat().join()).toContain('1 of 4 is used');
  device[Symbol.dispose]();
});
