// Norms on CUDA: every choice by itself, on the emulator.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { Scope } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { definitionOf } from '@darkroom/core/backend';
import { buildInput, checkKernelCase, choosing, normChoiceCases } from '@darkroom/core/testing';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

process.env['DARKROOM_CUDA_EMULATOR_FLAGS'] ??= '-O1';

describe.skipIf(emulatorIsMissing())('every choice of a norm agrees with the oracle', () => {
  let device: Device;
  let oracle: Device;
  beforeAll(async () => {
    device = await cuda({ emulator: true, cache: false });
    oracle = await cpu({ kernels: 'reference', threads: 1 });
  });
  afterAll(() => {
    device[Symbol.dispose]();
    oracle[Symbol.dispose]();
  });
  test.each(normChoiceCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    using memory = new Scope();
    const inputs = memory.run(() => c.inputs.map((x, i) => buildInput(x, i, device).spec));
    const ids = device.backend
      .choices(c.op, [...inputs, definitionOf(c.op).infer(c.op, inputs)])
      .map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(0);
    for (const id of ids) {
      const one = choosing(device, (all, op) =>
        op.kind === c.op.kind ? all.filter((x) => x.id === id) : all,
      );
      await checkKernelCase(c, one, oracle);
    }
  });
});
