// The property-tested kernel suite on CUDA: every kernel's CUDA C++ through the unchanged addon, run by the emulator
// where there is no GPU, compared with the CPU's reference kernels.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { activations, Device, Scope } from '@darkroom/core';
import { definitionOf } from '@darkroom/core/backend';
import type { DType, Expr } from '@darkroom/core';
import type { ArgSpec, Backend, KernelOp } from '@darkroom/core/backend';
import { buildInput, checkKernelCase, kernelArbitraries, testCases } from '@darkroom/core/testing';
import type { InputSpec, KernelCase } from '@darkroom/core/testing';
import { cuda } from './index.ts';
import { emulatorIsMissing } from './node/testing.ts';

// Each of some hundred kernels runs once, on little: compiling them is most of the time.
process.env['DARKROOM_CUDA_EMULATOR_FLAGS'] ??= '-O1';

const missing = emulatorIsMissing();
const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 4);

describe.skipIf(missing)('cuda kernels', () => {
  let device: Device;
  let oracle: Device;
  beforeAll(async () => {
    device = await cuda({ emulator: true, cache: false });
    oracle = await cpu({ kernels: 'reference', threads: 1 });
  });
  afterAll(() => {
    expect(device.memory().live).toBe(0);
    device[Symbol.dispose]();
    oracle[Symbol.dispose]();
  });

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
    // Widths of the models, and such as need padding, or are shared by warps; lengths that no tile divides.
    const attentions = [heads(40, 70, 77), heads(40, 200, 130), heads(64, 130, 130, 'causal'), heads(8, 20, 50, 'additive'), heads(80, 33, 77), heads(96, 70, 64, 'causal'), heads(128, 64, 100), heads(160, 64, 64), heads(256, 5, 40), heads(264, 9, 20), heads(512, 40, 40)]; // prettier-ignore
    test.each(attentions.map((c) => [c.name, c] as const))('direct %s', async (_, c) => {
      const inputs = c.inputs.map((x, i) => (i === 2 ? { ...x, layout: 'contiguous' as const } : x));
      await checkKernelCase({ ...c, inputs }, only('direct'), oracle);
      const narrow = inputs.map((x, i): InputSpec => (i < 3 ? { ...x, dtype: 'bfloat16' } : x));
      await checkKernelCase({ ...c, inputs: narrow }, only('direct'), oracle);
    });
    const others = [heads(40, 70, 77), heads(64, 130, 130, 'causal'), heads(17, 20, 50, 'additive'), heads(160, 64, 64), heads(256, 5, 40)]; // prettier-ignore
    test.each(others.map((c) => [c.name, c] as const))('%s', async (_, c) => {
      await checkKernelCase(c, only('mma'), oracle);
    });
    test.each(cases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
      const ids = tensorChoices(c);
      expect(ids.length).toBeGreaterThanOrEqual(7);
      for (const id of ids) await checkKernelCase(c, only(id), oracle);
    });
    const long: readonly KernelCase[] = [
      { name: 'a long sum in parts', op: { kind: 'matmul', epilogue: add }, inputs: [half([2, 40, 1032]), half([1032, 72], 'permuted'), half([72])] },
      { name: 'taps in parts', op: { ...conv, stride: [1, 1], padding: [1, 1, 1, 1] }, inputs: [half([1, 72, 5, 7], 'channelsLast'), half([48, 72, 3, 3], 'channelsLast'), half([48, 1, 1])] },
    ]; // prettier-ignore
    test.each(long.map((c) => [c.name, c] as const))('%s', async (_, c) => {
      const ids = tensorChoices(c).filter((id) => id.includes('/'));
      expect(ids.length).toBeGreaterThanOrEqual(2);
      for (const id of ids) await checkKernelCase(c, only(id), oracle);
    });

    // Operands that lie in pieces along k: other kernels, with parts of long sums.
    const dtype = fc.constantFrom<DType>('float16', 'bfloat16', 'float32');
    const epilogues: readonly (Expr | undefined)[] = [undefined, add, activations.silu(add)];
    const product = fc.record({
      dtype,
      m: fc.integer({ min: 16, max: 200 }),
      n: fc.integer({ min: 16, max: 200 }),
      k: fc.integer({ min: 1, max: 90 }).map((k) => 8 * k),
      batch: fc.constantFrom<number[]>([], [2], [2, 2]),
      share: fc.boolean(),
      which: fc.nat(2),
      pick: fc.nat(),
    });
    test('direct matmul', async () => {
      await fc.assert(
        fc.asyncProperty(product, async ({ dtype, m, n, k, batch, share, which, pick }) => {
          const epilogue = epilogues[which];
          const values = 'normal';
          const inputs: InputSpec[] = [
            { shape: [...batch, m, k], dtype, values },
            { shape: [...(share ? [] : batch), k, n], dtype, layout: 'transposed', values },
            ...(epilogue ? [{ shape: which === 1 ? [n] : [...batch, m, n], dtype }] : []),
          ];
          const op: KernelOp = { kind: 'matmul', precision: 'tf32', ...(epilogue && { epilogue }) };
          await checkOne({ name: 'direct matmul', op, inputs }, pick);
        }),
        { numRuns: runs },
      );
    });
    const image = fc.record({
      dtype,
      n: fc.integer({ min: 1, max: 2 }),
      groups: fc.constantFrom(1, 1, 2),
      c: fc.integer({ min: 1, max: 12 }).map((c) => 8 * c),
      o: fc.integer({ min: 16, max: 90 }),
      h: fc.integer({ min: 4, max: 12 }),
      w: fc.integer({ min: 4, max: 12 }),
      kernel: fc.constantFrom<[number, number]>([1, 1], [3, 3], [3, 3], [1, 3]),
      stride: fc.constantFrom<[number, number]>([1, 1], [2, 2], [2, 1]),
      dilation: fc.constantFrom<[number, number]>([1, 1], [1, 1], [2, 1]),
      padding: fc.constantFrom<[number, number, number, number]>([1, 1, 1, 1], [0, 1, 0, 1], [2, 1, 1, 3]),
      which: fc.nat(2),
      pick: fc.nat(),
    });
    test('direct conv2d', async () => {
      await fc.assert(
        fc.asyncProperty(
          image,
          async ({ dtype, n, groups, c, o, h, w, kernel, which, pick, ...geometry }) => {
            const epilogue = epilogues[which];
            const op: KernelOp = {
              kind: 'conv2d',
              precision: 'tf32',
              groups,
              ...geometry,
              ...(epilogue && { epilogue }),
            };
            const inputs: InputSpec[] = [
              { shape: [n, c * groups, h, w], dtype, layout: 'channelsLast', values: 'normal' },
              { shape: [o * groups, c, ...kernel], dtype, layout: 'channelsLast', values: 'normal' },
            ];
            if (epilogue) inputs.push({ shape: [o * groups, 1, 1], dtype });
            await checkOne({ name: 'direct conv2d', op, inputs }, pick);
          },
        ),
        { numRuns: runs },
      );
    });

    /** Runs a case with one of its choices for tensor cores. */
    async function checkOne(c: KernelCase, pick: number): Promise<void> {
      const ids = tensorChoices(c);
      const id = ids[pick % ids.length];
      fc.pre(id !== undefined); // too small for them
      await checkKernelCase(c, only(id), oracle);
    }
    function tensorChoices(c: KernelCase): string[] {
      using memory = new Scope();
      const specs = memory.run(() => c.inputs.map((x, i) => buildInput(x, i, device).spec));
      const args = [...specs, definitionOf(c.op).infer(c.op, specs)];
      return device.backend.choices(c.op, args).map(({ id }) => id).filter((id) => id.startsWith('mma')); // prettier-ignore
    }

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
    test.each(testCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
      await checkKernelCase(c, device, oracle);
    });
  });
});
