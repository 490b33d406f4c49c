// The property-tested kernel suite on CUDA: every kernel's CUDA C++ through the unchanged addon, run by the emulator
// where there is no GPU, compared with the CPU's reference kernels.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { definitionOf, Device, Scope } from '@darkroom/core';
import type { ArgSpec, Backend, Expr, KernelOp } from '@darkroom/core';
import { buildInput, checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import type { InputSpec, KernelCase } from '@darkroom/core/testing';
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

  describe('every tile on tensor cores agrees with the oracle', () => {
    const half = (
      shape: number[],
      layout: 'contiguous' | 'permuted' | 'channelsLast' = 'contiguous',
    ): InputSpec => ({
      shape,
      layout,
      dtype: 'float16',
    });
    const add: Expr = ['add', ['in', 0], ['in', 1]];
    const conv = { kind: 'conv2d', dilation: [1, 1], groups: 1, epilogue: add } as const;
    const cases: readonly KernelCase[] = [
      { name: 'matmul', op: { kind: 'matmul' }, inputs: [half([130, 96]), half([96, 200])] },
      { name: 'linear', op: { kind: 'matmul', epilogue: add }, inputs: [half([70, 50]), half([50, 90], 'permuted'), half([90])] },
      { name: 'batches', op: { kind: 'matmul' }, inputs: [half([2, 33, 40]), half([2, 40, 50])] },
      { name: 'bfloat16', op: { kind: 'matmul' }, inputs: [{ shape: [65, 70], dtype: 'bfloat16' }, { shape: [70, 66], dtype: 'bfloat16' }] },
      { name: 'conv2d', op: { ...conv, stride: [1, 1], padding: [1, 1, 1, 1] }, inputs: [half([2, 24, 9, 11]), half([40, 24, 3, 3]), half([40, 1, 1])] },
      { name: 'conv2d nhwc', op: { ...conv, stride: [2, 2], padding: [0, 1, 0, 1] }, inputs: [half([2, 24, 9, 11], 'channelsLast'), half([40, 24, 3, 3], 'channelsLast'), half([40, 1, 1])] },
    ]; // prettier-ignore
    const heads = (
      d: number,
      l: number,
      keys: number,
      mask: 'none' | 'causal' | 'additive' = 'none',
    ): KernelCase => ({
      name: `attention ${l}x${keys} d${d} ${mask}`,
      op: { kind: 'attention', scale: 1 / Math.sqrt(d), mask },
      inputs: [half([2, 2, l, d]), half([2, 2, keys, d]), half([2, 2, keys, d], 'permuted')].concat(
        mask === 'additive' ? [{ shape: [2, 1, l, keys] }] : [],
      ),
    });
    const attentions = [heads(40, 70, 77), heads(64, 130, 130, 'causal'), heads(17, 20, 50, 'additive'), heads(160, 64, 64), heads(256, 5, 40)]; // prettier-ignore
    test.each(attentions.map((c) => [c.name, c] as const))('%s', slow, async (_, c) => {
      await checkKernelCase(c, only('mma'), oracle);
    });
    test.each(cases.map((c) => [c.name, c] as const))('%s', slow, async (_, c) => {
      using memory = new Scope();
      const specs = memory.run(() => c.inputs.map((x, i) => buildInput(x, i, device).spec));
      const args = [...specs, definitionOf(c.op).infer(c.op, specs)];
      const ids = device.backend.choices(c.op, args).map(({ id }) => id).filter((id) => id.startsWith('mma')); // prettier-ignore
      expect(ids.length).toBe(5);
      for (const id of ids) await checkKernelCase(c, only(id), oracle);
    });

    /** The device with one choice for products. */
    function only(id: string): Device {
      const { backend } = device;
      const names = ['prepare', 'run', 'alloc', 'free', 'write', 'read', 'readSync'] as const;
      const bound = Object.fromEntries(
        names.map((n) => [n, { value: (backend[n] as () => unknown).bind(backend) }]),
      );
      const choices = {
        value: (op: KernelOp, args: readonly ArgSpec[]) =>
          backend.choices(op, args).filter((choice) => op.kind === 'copy' || choice.id === id),
      };
      return new Device(Object.create(backend, { ...bound, choices }) as Backend);
    }
  });

  describe('the case table agrees with the oracle', () => {
    test.each(testCases.map((c) => [c.name, c] as const))('%s', slow, async (_, c) => {
      await checkKernelCase(c, device, oracle);
    });
  });
});
