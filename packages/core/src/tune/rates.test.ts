// Rates: of products large enough to take time, and of copies, by the device's own clock.

import { expect, test } from 'vitest';
import { nullBackend } from '../backends/null.ts';
import { Device } from '../device.ts';
import { measureRates } from './rates.ts';

test('rates follow from the sizes and the device time of the work', async () => {
  const base = nullBackend();
  // A device of 2e9 operations and 1e9 bytes a second: a product of n takes n³/1e6 ms, a copy of 64 MiB 134 ms.
  const time = async (work: () => void): Promise<number> => {
    const before = base.runs.length;
    work();
    const label = base.runs.slice(before).find((run) => run.startsWith('matmul'));
    return label ? 1e-6 * size ** 3 : (2 * (64 << 20)) / 1e6;
  };
  let size = 0;
  const device = new Device({
    ...base,
    time,
    prepare(op, args, choice) {
      if (op.kind === 'matmul') size = args[0]!.layout.shape[0]!;
      return base.prepare(op, args, choice);
    },
  });
  const rates = await measureRates(device, ['float32', 'float16']);
  expect(rates.flops.float32).toBeCloseTo(2e9);
  expect(rates.flops.float16).toBeCloseTo(2e9);
  expect(rates.bandwidth).toBeCloseTo(1e9);
  expect(size).toBe(512); // 256 takes 17 ms, too little
  expect(device.memory().live).toBe(0);
});

test('a device that was at rest is measured awake: short runs go on until its clock has risen', async () => {
  const base = nullBackend();
  let spent = 0;
  const time = async (work: () => void): Promise<number> => {
    work();
    const ms = spent < 50 ? 0.4 : 0.1; // a quarter of its clock for its first 50 ms
    spent += ms;
    return ms;
  };
  const { flops } = await measureRates(new Device({ ...base, time }));
  expect(flops.float32).toBeCloseTo((2000 * 4096 ** 3) / 0.1);
});

test('a device that takes no time at all ends', async () => {
  const rates = await measureRates(new Device({ ...nullBackend(), time: () => Promise.resolve(0) }));
  expect(rates.bandwidth).toBeGreaterThan(0);
});
