// Passes about products and attention on the CUDA emulator, planned: sliced attention gives the bits of the whole one.

import { Scope } from '@darkroom/core';
import { channelsLast, fuseSharedMatmuls, optimize, sliceAttention } from '@darkroom/core/graph';
import type { Device } from '@darkroom/core';
import {
  attentionArbitrary,
  buildAttention,
  firstMismatch,
  fusedOnGpuTolerance,
  runPlanned,
} from '@darkroom/core/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

describe.skipIf(emulatorIsMissing())('passes on the emulator', () => {
  let device: Device;
  beforeAll(async () => {
    device = await cuda({ emulator: true, cache: false });
  });
  afterAll(() => {
    expect(device.memory().live).toBe(0);
    device[Symbol.dispose]();
  });

  test('sliceAttention: the bits of the whole', async () => {
    await fc.assert(
      fc.asyncProperty(attentionArbitrary(fc), async (program) => {
        using memory = new Scope();
        const given = memory.run(() => buildAttention(program, device));
        const sliced = sliceAttention(program).run(given.graph);
        const want = await runPlanned(given.graph, given, device);
        expect(await runPlanned(sliced, given, device)).toEqual(want);
      }),
      { numRuns: 12 },
    );
  });

  test.each([
    ['fuseSharedMatmuls', fuseSharedMatmuls],
    ['channelsLast', channelsLast],
  ])('%s: the same up to the order of sums', async (_, pass) => {
    await fc.assert(
      fc.asyncProperty(attentionArbitrary(fc, ['float32']), async (program) => {
        using memory = new Scope();
        const given = memory.run(() => buildAttention(program, device));
        const want = await runPlanned(given.graph, given, device);
        const got = await runPlanned(optimize(given.graph, [pass]), given, device);
        for (const name of Object.keys(want))
          expect(firstMismatch(got[name]!, want[name]!, fusedOnGpuTolerance)).toBe(-1);
      }),
      { numRuns: 8 },
    );
  });
});
