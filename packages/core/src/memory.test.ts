// Lifetimes: scopes, views, the allocator, leaks. On the NULL backend, which accounts memory and computes nothing.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import { nullBackend } from './backends/null.ts';
import { debug, log } from './debug.ts';
import { Device } from './device.ts';
import { OutOfMemoryError, UseAfterDisposeError } from './errors.ts';
import { add, silu } from './ops/pointwise.ts';
import { zeros } from './ops/fill.ts';
import { keep, scope, Scope } from './scope.ts';

afterEach(() => {
  debug.strictDispose = false;
});

test('a scope frees what it made except what it returns, deeply', () => {
  const device = new Device(nullBackend());
  const kept = scope(() => {
    const a = zeros([64], { device });
    const b = silu(a);
    return { list: [silu(b)], map: new Map([['x', silu(b)]]) };
  });
  expect(device.memory().live).toBe(2 * 256);
  kept.list[0]!.dispose();
  kept.map.get('x')!.dispose();
  expect(device.memory().live).toBe(0);
  expect(device.memory().peak).toBe(4 * 256);
});

test('a returned tensor passes to the enclosing scope; keep takes it out of all', () => {
  const device = new Device(nullBackend());
  let saved;
  scope(() => {
    scope(() => zeros([64], { device }));
    saved = keep(zeros([64], { device }));
  });
  expect(device.memory().live).toBe(256);
  saved!.dispose();
});

test("a tensor of the caller that passes through inner scopes stays the caller's", () => {
  const device = new Device(nullBackend());
  const mine = zeros([64], { device });
  scope(() => {
    const same = scope(() => mine);
    expect(same).toBe(mine);
  });
  expect(mine.isDisposed).toBe(false);
  mine.dispose();
});

test('a scope that throws frees everything', () => {
  const device = new Device(nullBackend());
  expect(() =>
    scope(() => {
      zeros([64], { device });
      throw new Error('stop');
    }),
  ).toThrow('stop');
  expect(device.memory().live).toBe(0);
});

test('a promise from a scope is refused', () => {
  expect(() => scope(async () => {})).toThrow('scopes are synchronous');
});

test('memory goes with the last view', () => {
  const device = new Device(nullBackend());
  const x = zeros([8, 8], { device });
  const row = x.slice(0, 2, 3);
  x.dispose();
  expect(device.memory().live).toBe(256);
  row.dispose();
  expect(device.memory().live).toBe(0);
});

test('use after dispose and double dispose are told', () => {
  const device = new Device(nullBackend());
  const x = zeros([2], { device });
  x.dispose();
  expect(() => add(x, 1)).toThrow(UseAfterDisposeError);
  x.dispose();
  debug.strictDispose = true;
  expect(() => x.dispose()).toThrow('disposed before');
});

test('freed buffers of a size are reused, and dropped on demand', () => {
  const backend = nullBackend();
  const device = new Device(backend);
  zeros([100], { device }).dispose();
  expect(device.memory()).toMatchObject({ live: 0, cached: 512 });
  zeros([100], { device }).dispose();
  expect(backend.allocated).toBe(512);
  device.emptyCache();
  expect(backend.allocated).toBe(0);
});

test('out of memory drops the cache once, then names the largest buffers', () => {
  const device = new Device(nullBackend({ maxBytes: 4096 }));
  zeros([768], { device }).dispose(); // 3072 bytes, now cached
  const x = zeros([256], { device }); // 1024
  const y = zeros([512], { device }); // fits only without the cache
  expect(device.memory().live).toBe(3072);
  expect(() => zeros([1024], { device })).toThrow(OutOfMemoryError);
  expect(() => zeros([1024], { device })).toThrow('live 3072 bytes in 2 buffers, the largest: 2048, 1024');
  x.dispose();
  y.dispose();
});

test('an explicit scope lives across awaits', async () => {
  const device = new Device(nullBackend());
  const s = new Scope();
  s.run(() => zeros([4], { device }));
  await Promise.resolve();
  expect(device.memory().live).toBe(256);
  s[Symbol.dispose]();
  expect(device.memory().live).toBe(0);
});

test('in development a tensor collected without dispose is reported, and its memory comes back at the next op', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const device = new Device(nullBackend());
  const reports: string[] = [];
  const { warn } = log;
  log.warn = (message) => void reports.push(message);
  debug.leaks = true;
  const lose = (): void => void zeros([3, 5], { device });
  lose();
  for (let turn = 0; turn < 50 && reports.length === 0; turn++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  debug.leaks = false;
  log.warn = warn;
  expect(reports.join()).toMatch(/leaked float32\[3,5\] created at .*memory\.test/);
  expect(device.memory().live).toBe(256);
  zeros([1], { device }).dispose();
  expect(device.memory().live).toBe(0);
});
