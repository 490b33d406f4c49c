import { expect, test } from 'vitest';
import type { Backend, Choice } from '../backend.ts';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { DeviceError } from '../errors.ts';
import { zeros } from '../ops/fill.ts';
import { matmul } from '../ops/matmul.ts';
import type { TuneOptions, TuneStore } from './tuner.ts';

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

/** A NULL backend with two kernels for every matmul that notes what was asked of it. */
function noting(notes: string[]): Backend {
  const base = nullBackend({
    choices: (op) => (op.kind === 'matmul' ? [{ id: 'a' }, { id: 'b' }] : [{ id: 'null' }]),
  });
  return {
    ...base,
    prepare: (op, args, choice) => {
      if (op.kind === 'matmul') notes.push(`prepare ${args[0]!.layout.shape[0]} ${choice.id}`);
      return base.prepare(op, args, choice);
    },
    ready: async () => void notes.push('ready'),
    read: async ({ bytes }) => new Uint8Array(bytes),
  };
}

const square = (device: Device, n: number): void => {
  const x = zeros([n, n], { device });
  matmul(x, x);
};

test('keys with the largest share of time are measured first, when the kernels of all are ready', async () => {
  const notes: string[] = [];
  const device = new Device(noting(notes), { autotune: 'full' });
  for (const n of [8, 32, 16]) square(device, n);
  const order = async (options: TuneOptions): Promise<number[]> => {
    const seen: number[] = [];
    notes.length = 0;
    device.tuner.onDecision = ({ key }) => {
      if (seen.length === 0) notes.push('decided');
      seen.push(Number(/\[(\d+)/.exec(key)![1]));
    };
    await device.tune(options);
    return seen;
  };
  expect(await order({})).toEqual([32, 16, 8]);
  expect(notes).toEqual([
    ...[32, 16, 8].flatMap((n) => [`prepare ${n} a`, `prepare ${n} b`]),
    'ready',
    'decided',
  ]);

  const other = new Device(noting([]), { autotune: 'full' });
  const keys: string[] = [];
  other.tuner.onDecision = ({ key }) => void keys.push(key);
  for (const n of [8, 32]) square(other, n);
  await other.tuner.tunePending();
  // The small product runs so often that it takes longer.
  const uses = new Map([[keys[1]!, 1000]]);
  for (const n of [32, 8]) square(device, n);
  expect(device.tuner.pending).toBe(0);
  const third = new Device(noting([]), { autotune: 'full' });
  for (const n of [32, 8]) square(third, n);
  const seen: string[] = [];
  third.tuner.onDecision = ({ key }) => void seen.push(key);
  await third.tune({ uses });
  expect(seen).toEqual([keys[1], keys[0]]);
});

test('what a deadline leaves out keeps its first choice and stays pending', async () => {
  const device = new Device(noting([]), { autotune: 'full' });
  for (const n of [8, 16]) square(device, n);
  expect(await device.tune({ seconds: 0 })).toBe(0);
  expect(device.tuner.pending).toBe(2);
  expect(await device.tune()).toBe(2);
  expect(device.tuner.pending).toBe(0);
});
