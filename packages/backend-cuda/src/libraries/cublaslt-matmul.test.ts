// Matrix products through the backend with a cuBLASLt that computes by its documentation, on the emulator's memory: all
// between the op and the library's calls, but nothing of the library itself.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { linear, matmul, scope, tensor } from '@darkroom/core';
import { layoutOf } from '@darkroom/core/backend';
import type { Device, DType, Tensor } from '@darkroom/core';
import type { ArgSpec, KernelOp, MatmulOp } from '@darkroom/core/backend';
import { checkKernelCase, choosing, kernelArbitraries } from '@darkroom/core/testing';
import type { InputSpec, KernelCase } from '@darkroom/core/testing';
import { openCuda } from '../node/addon.ts';
import { cublasReduction } from '../node/native.ts';
import { emulatorIsMissing } from '../node/testing.ts';
import { cuda, openDevice } from '../open.ts';
import { FakeCublasLt } from './cublaslt-testing.ts';

const missing = emulatorIsMissing();

describe.skipIf(missing)('matmul through cuBLASLt', () => {
  let fake: FakeCublasLt;
  let device: Device;
  let oracle: Device;
  beforeAll(async () => {
    const opened = openCuda({ emulator: true });
    fake = new FakeCublasLt(opened.driver);
    device = openDevice({ ...opened, cublasLt: fake }, { cache: false });
    oracle = await cpu({ kernels: 'reference', threads: 1 });
  });
  afterAll(() => {
    device[Symbol.dispose]();
    oracle[Symbol.dispose]();
    expect([fake.handles, fake.problems]).toEqual([0, 0]);
  });
  const args = (dtype: DType): ArgSpec[] =>
    [[2, 8, 16], [16, 24], [24], [2, 8, 24]].map((s) => ({ dtype, layout: layoutOf(s) }));
  const biased: MatmulOp = { kind: 'matmul', epilogue: ['add', ['in', 0], ['in', 1]] };

  test('any matmul agrees with the oracle, whoever runs it', async () => {
    const first = (id: string): number => (id === 'cublaslt' ? 0 : 1);
    const only = choosing(device, (all) => all.toSorted((a, b) => first(a.id) - first(b.id)));
    const before = fake.runs.length;
    // Of one dtype and mostly dense: what the library takes. The rest is for our kernels, whose suite it is.
    const cases = fc
      .tuple(kernelArbitraries(fc)['matmul']!, fc.constantFrom<DType>('float32', 'float16', 'bfloat16'))
      .map(([c, dtype]): KernelCase => {
        const dense = (x: InputSpec): InputSpec => ({ ...x, dtype, layout: x.layout === 'sliced' ? 'contiguous' : x.layout! });
        return { ...c, inputs: c.inputs.map(dense) };
      });
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(1000), (c, seed) => checkKernelCase(c, only, oracle, seed)),
      { numRuns: 60, seed: 1 },
    );
    expect(fake.runs.length - before).toBeGreaterThan(15);
    expect(fake.runs.every((r) => r.workspace % 16 === 0 && r.workspace > 0 && r.workspaceBytes === 1024)).toBe(true);
  }); // prettier-ignore

  test('its algorithms are choices, before our kernels for tensor cores and behind them in full float32', () => {
    const ids = (op: KernelOp, dtype: DType): string[] => device.backend.choices(op, args(dtype)).map((c) => c.id);
    const libraries = ['cublaslt', 'cublaslt-1', 'cublaslt-2'];
    const [half, tf32, exact] = [ids(biased, 'float16'), ids({ ...biased, precision: 'tf32' }, 'float32'), ids(biased, 'float32')];
    expect(half.slice(0, 3)).toEqual(libraries);
    expect(tf32.slice(0, 3)).toEqual(libraries);
    expect(exact.slice(-3)).toEqual(libraries);
    for (const list of [half, tf32, exact]) expect(list.length).toBeGreaterThan(3);
    const { inplace, computeType, outputType } = cublasReduction;
    const asked = fake.asked.slice(-3).map((a) => a.reductions);
    // Parts of a split k may not be rounded to 16 bits before they are added.
    expect(asked).toEqual([computeType, inplace + computeType + outputType, inplace + computeType + outputType]);
    expect(fake.asked.at(-1)).toMatchObject({ alignments: [16, 16, 16, 16], most: 16 });
  }); // prettier-ignore

  test('the key of kept choices names the library; without one there are only our kernels', async () => {
    expect(device.backend.caps.fingerprint).toContain('cuBLASLt 130000');
    using plain = await cuda({ emulator: true, cache: false });
    expect(plain.backend.caps.fingerprint).not.toMatch(/cuBLASLt|cuDNN/);
    const [all, own] = [device, plain].map((d) =>
      d.backend.choices(biased, args('float16')).map((c) => c.id),
    );
    expect(own).toEqual(all!.filter((id) => !id.startsWith('cublaslt')));
    expect(own!.length).toBeGreaterThan(0);
  });

  test('a kept choice is used again, and one that no longer fits leaves the op to our kernels', () => {
    const { backend } = device;
    const choices = backend.choices(biased, args('float16'));
    const kept = JSON.parse(JSON.stringify(choices[1])) as (typeof choices)[number];
    expect(kept).toMatchObject({ id: 'cublaslt-1', workspaceBytes: 32 * 2 ** 20 });
    expect(backend.prepare(biased, args('float16'), kept).label).toBe('matmul/cublaslt-1');
    fake.has = [7];
    const own = choices.find((c) => !c.id.startsWith('cublaslt'))!.id;
    expect(backend.prepare(biased, args('float16'), kept).label).toBe(`matmul/${own}`);
    for (const params of [null, 'no', `${'*'.repeat(86)}==`])
      expect(backend.prepare(biased, args('float16'), { id: 'cublaslt', params }).label).toBe(
        `matmul/${own}`,
      );
    fake.has = [7, 8, 9];
  });

  test('slices that are not aligned go to our kernels', async () => {
    const values = Array.from({ length: 8 * 16 }, (_, i) => (i % 7) - 3);
    const run = (offset: number): Tensor =>
      scope(() => {
        const all = tensor([...Array<number>(offset).fill(9), ...values], { device, dtype: 'float16' });
        const x = all.slice(0, offset).view([8, 16]);
        return matmul(x, tensor(values, { device, dtype: 'float16' }).view([16, 8]));
      });
    const before = fake.runs.length;
    const results = [run(8), run(1)];
    expect(fake.runs.length - before).toBe(1);
    expect(await results[1]!.data()).toEqual(await results[0]!.data());
    for (const r of results) r.dispose();
  });

  test('a linear layer is one call', async () => {
    const before = fake.runs.length;
    const y = scope(() => {
      const of = (count: number): Tensor => tensor(Array.from({ length: count }, (_, i) => i % 3), { device, dtype: 'float16' });
      return linear(of(48).view([2, 3, 8]), of(32).view([4, 8]), { bias: of(4) });
    });
    expect(fake.runs.length - before).toBe(1);
    // Row r of x holds (8r + i) mod 3, as does row r of the weight.
    const dot = (r: number, o: number): number => [...Array(8).keys()].reduce((s, i) => s + ((8 * r + i) % 3) * ((8 * o + i) % 3), o % 3);
    expect([...(await y.data())]).toEqual(Array.from({ length: 24 }, (_, i) => dot(Math.floor(i / 4), i % 4)));
    y.dispose();
  }); // prettier-ignore
});
