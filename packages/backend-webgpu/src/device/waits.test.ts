// Waits: long ones of a kind seen before are slept through first, and never much longer than the work takes. The clock
// is the test's own.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Waits } from './waits.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** The result of `promise`, while fake time goes on. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  const [result] = await Promise.all([promise, vi.runAllTimersAsync()]);
  return result;
}

const after = (ms: number) => (): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits once; how long `done` was put off, and all of it. */
async function timed(
  waits: Waits,
  flops: number,
  ms: number,
  firstRuns = 0,
): Promise<{ slept: number; all: number }> {
  const start = performance.now();
  let slept = 0;
  const done = (): Promise<void> => {
    slept = performance.now() - start;
    return after(Math.max(0, ms - slept))();
  };
  await inTime(waits.wait({ dispatches: 3, flops, firstRuns }, start, done));
  return { slept, all: performance.now() - start };
}

test('the second wait for a batch sleeps first, but not past its end', async () => {
  const waits = new Waits();
  expect(await timed(waits, 1, 60)).toEqual({ slept: 0, all: 60 });
  expect(await timed(waits, 1, 60)).toEqual({ slept: 54, all: 60 });
  expect(await timed(waits, 2, 60)).toEqual({ slept: 0, all: 60 }); // another batch
});

test('a batch that got faster is slept for less each time', async () => {
  const waits = new Waits();
  await timed(waits, 1, 200);
  const slept: number[] = [];
  for (let i = 0; i < 4; i++) slept.push((await timed(waits, 1, 0)).slept);
  expect(slept).toEqual([180, 81, 36, 16]); // timers count whole milliseconds
  expect(await timed(waits, 1, 200)).toEqual({ slept: 0, all: 200 }); // and slower again
  expect((await timed(waits, 1, 200)).slept).toBe(180);
});

test('nothing is learned from a wait in which shaders were compiled', async () => {
  const waits = new Waits();
  await timed(waits, 1, 60_000, 1);
  expect(await timed(waits, 1, 0)).toEqual({ slept: 0, all: 0 });
});

test('nothing is learned from short waits, empty ones, and those beside others', async () => {
  const waits = new Waits();
  await timed(waits, 1, 2);
  expect((await timed(waits, 1, 2)).slept).toBe(0);
  await Promise.all([timed(waits, 5, 80), timed(waits, 6, 80)]);
  expect((await timed(waits, 5, 0)).slept).toBe(0);
  expect((await timed(waits, 6, 0)).slept).toBe(0);
  const nothing = { dispatches: 0, flops: 0, firstRuns: 0 };
  await inTime(waits.wait(nothing, performance.now(), after(80)));
  const start = performance.now();
  await inTime(waits.wait(nothing, start, after(0)));
  expect(performance.now() - start).toBe(0);
});

test('a failed wait is an error of its caller and is not remembered', async () => {
  const waits = new Waits();
  const batch = { dispatches: 1, flops: 1, firstRuns: 0 };
  const fail = (): Promise<void> => Promise.reject(new Error('lost'));
  await expect(waits.wait(batch, performance.now() - 500, fail)).rejects.toThrow('lost');
  const start = performance.now();
  await inTime(waits.wait(batch, start, after(0)));
  expect(performance.now() - start).toBe(0);
});

test('a wait of unknown length leaves the event loop few turns, and others many', async () => {
  vi.useRealTimers();
  const waits = new Waits();
  const turnsIn = async (firstRuns: number): Promise<number> => {
    let turns = 0;
    let waiting = true;
    const turn = (): void => {
      turns++;
      if (waiting) setImmediate(turn);
    };
    setImmediate(turn);
    await waits.wait({ dispatches: 1, flops: 1, firstRuns }, performance.now(), after(60));
    waiting = false;
    return turns;
  };
  const few = await turnsIn(1);
  await turnsIn(0); // learned
  const many = await turnsIn(0);
  expect(few).toBeGreaterThan(0);
  expect(many).toBeGreaterThan(few);
});
