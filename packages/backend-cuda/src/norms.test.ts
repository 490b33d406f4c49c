// Norms on CUDA: every choice by itself, on the emulator.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import type { Device } from '@darkroom/core';
import { channelsLastStrides, contiguousStrides } from '@darkroom/core/backend';
import type { ArgSpec, GroupNormOp, LayerNormOp } from '@darkroom/core/backend';
import { checkEveryChoice, normChoiceCases } from '@darkroom/core/testing';
import { cuda } from './index.ts';
import { factoryOf } from './kernels/index.ts';
import { emulatorIsMissing, traitsOfArchitecture } from './node/testing.ts';

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
    expect((await checkEveryChoice(c, device, oracle)).length).toBeGreaterThan(0);
  });
});

describe('norms of Stable Diffusion 1.5 on sm_90', () => {
  const spec = (shape: number[], strides: readonly number[]): ArgSpec => ({
    dtype: 'float16',
    layout: { shape, strides, offset: 0 },
  });
  const traits = traitsOfArchitecture(90);
  const vector = (length: number): ArgSpec => spec([length], [1]);
  const firstOf = (op: GroupNormOp | LayerNormOp, x: ArgSpec, channels: number): [string, number] => {
    const args = [x, vector(channels), vector(channels), x];
    const id = factoryOf(op)!.choices(op, args, traits)[0]!;
    const { dispatches } = factoryOf(op)!.prepare(op, args, id, traits, true);
    return [id, Math.min(...dispatches.map((d) => d.groups))];
  };
  const images = [[2, 320, 64], [2, 640, 64], [2, 960, 64], [2, 640, 32], [2, 1920, 32], [2, 2560, 16], [2, 1280, 8], [1, 128, 512], [1, 512, 64]] as const; // prettier-ignore
  test.each(images)('groupNorm [%i, %i, %i²] takes slabs', (n, channels, size) => {
    const shape = [n, channels, size, size];
    const op: GroupNormOp = { kind: 'groupNorm', groups: 32, eps: 1e-5, activation: 'silu' };
    const [id, workgroups] = firstOf(op, spec(shape, channelsLastStrides(shape)), channels);
    expect(id).toMatch(/^slabs?$/);
    // Two for each of 132 processors, or a single launch.
    if (id === 'slabs') expect(workgroups).toBeGreaterThanOrEqual(264);
  });
  test.each([[8192, 320], [2048, 640], [512, 1280], [154, 768]])('layerNorm [%i, %i] stays in registers', (rows, length) => {
    const op: LayerNormOp = { kind: 'layerNorm', eps: 1e-5 };
    expect(firstOf(op, spec([rows, length], contiguousStrides([rows, length])), length)[0]).toBe('quads');
  }); // prettier-ignore
});
