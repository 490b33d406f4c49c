import { expect, test } from 'vitest';
import type { Backend, Choice } from '../backend.ts';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { DeviceError } from '../errors.ts';
import { zeros } from '../ops/fill.ts';
import { matmul } from '../ops/matmul.ts';
import type { TuneStore } from './tuner.ts';

/** A NULL backend with two matmul kernels; 'b' is faster, and 'wrong' gives other numbers. */
function twoChoices(): Backend {
  const base = nullBackend({
    choices: (op) =>
      op.kind === 'matmul' ? [{ id: 'a' }, { id: 'b' }, { id: 'wrong' }, { id: 'broken' }] : [{ id: 'null' }],
  });
  let last = '';
  return {
    ...base,
    prepare: (op, args, choice) => base.prepare(op, args, choice),
    run: (kernel, args, scalars) => {
      last = kernel.label;
      if (last.endsWith('broken')) throw new DeviceError('null: matmul/broken: not supported');
      base.run(kernel, args, scalars);
    },
    read: async (slice) => new Uint8Array(slice.bytes).fill(last.endsWith('wrong') ? 1 : 2),
    time: async (work) => {
      work();
      return last.endsWith('/b') ? 1 : 2;
    },
  };
}

function memoryStore(): TuneStore & { saved: Record<string, Choice> } {
  const store = {
    saved: {} as Record<string, Choice>,
    load: async () => store.saved,
    save: async (_: string, winners: Record<string, Choice>) => {
      store.saved = winners;
    },
  };
  return store;
}

function lastRun(device: Device): string {
  const x = zeros([2, 2], { device });
  matmul(x, x);
  return (device.backend as ReturnType<typeof nullBackend>).runs.at(-1)!;
}

test('untuned, the first choice runs; full notes it; tune() picks the fastest that agrees; the store keeps it', async () => {
  const store = memoryStore();
  const device = new Device(twoChoices(), { autotune: 'full', tuneStore: store });
  const decisions: string[] = [];
  device.tuner.onDecision = (d) => decisions.push(`${d.winner} rejected=${d.rejected.join()}`);
  expect(lastRun(device)).toBe('matmul/a');
  expect(device.tuner.pending).toBe(1);
  expect(await device.tune()).toBe(1);
  expect(decisions).toEqual(['b rejected=wrong,broken']);
  expect(lastRun(device)).toBe('matmul/b');
  expect(await device.tune()).toBe(0);

  const later = new Device(twoChoices(), { tuneStore: store });
  await later.tuner.load();
  expect(lastRun(later)).toBe('matmul/b');
  later.autotune = 'off';
  expect(lastRun(later)).toBe('matmul/a');
});

test('a kept winner that the backend no longer offers is ignored', async () => {
  const store = memoryStore();
  const device = new Device(twoChoices(), { autotune: 'full', tuneStore: store });
  lastRun(device);
  await device.tune();
  for (const key of Object.keys(store.saved)) store.saved[key] = { id: 'gone' };
  const later = new Device(twoChoices(), { tuneStore: store });
  await later.tuner.load();
  expect(lastRun(later)).toBe('matmul/a');
});
