// The property-tested kernel suite on WebGPU: the same cases as the CPU's, compared with the CPU's reference kernels.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { add, custom, definitionOf, dispatch, Scope, tensor } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { buildInput, checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import { webgpu } from './index.ts';
import { adapterIsMissing } from './node/testing.ts';

const missing = await adapterIsMissing();
const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 60);

describe.skipIf(missing)('webgpu kernels', () => {
  let device: Device;
  let oracle: Device;
  beforeAll(async () => {
    device = await webgpu();
    oracle = await cpu({ kernels: 'reference', threads: 1 });
  });
  afterAll(() => {
    device?.[Symbol.dispose]();
    oracle?.[Symbol.dispose]();
  });

  describe('random kernel cases agree with the oracle', () => {
    for (const [kind, arbitrary] of Object.entries(kernelArbitraries(fc))) {
      test(kind, { timeout: 600_000 }, async () => {
        await fc.assert(
          fc.asyncProperty(arbitrary, fc.nat(1000), (c, seed) => checkKernelCase(c, device, oracle, seed)),
          { numRuns: runs },
        );
      });
    }
  });

  describe('the case table agrees with the oracle', () => {
    test.each(testCases.map((c) => [c.name, c] as const))('%s', { timeout: 600_000 }, async (_, c) => {
      await checkKernelCase(c, device, oracle);
    });
  });
});
