// The property-tested kernel suite on the CPU: fast kernels against the reference, eager against traced.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { Device } from '@darkroom/core';
import { checkKernelCase, kernelArbitraries } from '@darkroom/core/testing';
import { cpu } from './index.ts';

let device: Device;
let oracle: Device;
beforeAll(async () => {
  device = await cpu({ threads: 2 });
  oracle = await cpu({ kernels: 'reference', threads: 1 });
});
afterAll(() => {
  device[Symbol.dispose]();
  oracle[Symbol.dispose]();
});

const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 150);

describe('random kernel cases agree with the oracle', () => {
  for (const [kind, arbitrary] of Object.entries(kernelArbitraries(fc))) {
    test(kind, async () => {
      await fc.assert(
        fc.asyncProperty(arbitrary, fc.nat(1000), (c, seed) => checkKernelCase(c, device, oracle, seed)),
        { numRuns: runs },
      );
    });
  }
});
