// The property-tested kernel suite on CUDA: every kernel's CUDA C++ through the unchanged addon, run by the emulator
// where there is no GPU, compared with the CPU's reference kernels.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import type { Device } from '@darkroom/core';
import { checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

const missing = emulatorIsMissing();
const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 12);
const slow = { timeout: 900_000 };

describe.skipIf(missing)('cuda kernels', () => {
  let device: Device;
  let oracle: Device;
  beforeAll(async () => {
    device = await cuda({ emulator: true, kernelCache: false });
    oracle = await cpu({ kernels: 'reference', threads: 1 });
  });
  afterAll(() => {
    expect(device.memory().live).toBe(0);
    device[Symbol.dispose]();
    oracle[Symbol.dispose]();
  });

  describe('random kernel cases agree with the oracle', () => {
    for (const [kind, arbitrary] of Object.entries(kernelArbitraries(fc))) {
      test(kind, slow, async () => {
        await fc.assert(
          fc.asyncProperty(arbitrary, fc.nat(1000), (c, seed) => checkKernelCase(c, device, oracle, seed)),
          { numRuns: runs },
        );
      });
    }
  });

  describe('the case table agrees with the oracle', () => {
    test.each(testCases.map((c) => [c.name, c] as const))('%s', slow, async (_, c) => {
      await checkKernelCase(c, device, oracle);
    });
  });
});
