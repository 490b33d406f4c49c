// The property-tested kernel suite on WebGPU: the same cases as the CPU's, compared with the CPU's reference kernels;
// and again as a device with less would run them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { fileTuneStore } from '@darkroom/core/node';
import { add, custom, Scope, tensor, UnsupportedOpError } from '@darkroom/core';
import type { Device } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core/backend';
import type { ArgSpec, KernelOp } from '@darkroom/core/backend';
import {
  buildInput,
  checkEveryChoice,
  checkKernelCase,
  kernelArbitraries,
  normChoiceCases,
  testCases,
} from '@darkroom/core/testing';
import type { KernelCase } from '@darkroom/core/testing';
import { foldWidth, webgpu } from './index.ts';
import type { WebGpuBackend } from './index.ts';
import { adapterIsMissing } from './node/testing.ts';

const missing = await adapterIsMissing();
const runs = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 4);
const arbitraries = kernelArbitraries(fc);

let device: Device;
let oracle: Device;
beforeAll(async () => {
  if (missing) return;
  device = await webgpu();
  oracle = await cpu({ kernels: 'reference', threads: 1 });
});
afterAll(() => {
  device?.[Symbol.dispose]();
  oracle?.[Symbol.dispose]();
});

describe.skipIf(missing)('random kernel cases agree with the oracle', () => {
  for (const [kind, arbitrary] of Object.entries(arbitraries)) {
    test(kind, async () => {
      await fc.assert(
        fc.asyncProperty(arbitrary, fc.nat(1000), (c, seed) => checkKernelCase(c, device, oracle, seed)),
        { numRuns: runs },
      );
    });
  }
});

describe.skipIf(missing)('the case table agrees with the oracle', () => {
  test.each(testCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    await checkKernelCase(c, device, oracle);
  });
});

describe.skipIf(missing)('a device with less gives the same', () => {
  let less: Device;
  beforeAll(async () => {
    less = await webgpu({ restrict: { natives: new Set(), bindingBytes: 16384, unroll: true } });
  });
  afterAll(() => less?.[Symbol.dispose]());

  /** Draws another case where this one needs more bindings than there are: that is refused, as tested below. */
  async function onLess(c: KernelCase): Promise<void> {
    try {
      await checkKernelCase(c, less, oracle);
    } catch (error) {
      fc.pre(!(error instanceof UnsupportedOpError && error.message.includes('storage bindings')));
      throw error;
    }
  }

  for (const [kind, arbitrary] of Object.entries(arbitraries)) {
    test(`${kind} without shader-f16, in bindings of 16 KiB`, async () => {
      await fc.assert(
        fc.asyncProperty(arbitrary, (c) => onLess(c)),
        { numRuns: Math.ceil(runs / 3) },
      );
    });
  }

  const large: readonly KernelCase[] = [
    { name: 'layerNorm', op: { kind: 'layerNorm', eps: 1e-5 }, inputs: [{ shape: [20, 37, 11] }] },
    { name: 'softmax', op: { kind: 'softmax', axis: 0 }, inputs: [{ shape: [5, 33, 99], dtype: 'float16' }] },
    { name: 'map', op: { kind: 'map', expr: ['add', ['in', 0], ['in', 1]], dtype: 'float32' }, inputs: [{ shape: [3, 5000] }, { shape: [3, 5000], dtype: 'float16', layout: 'offset' }] },
    { name: 'copy', op: { kind: 'copy', shape: [60, 301], dtype: 'float16', format: 'contiguous', starts: [[0, 0]] }, inputs: [{ shape: [60, 301], layout: 'permuted' }] },
    { name: 'matmul', op: { kind: 'matmul' }, inputs: [{ shape: [90, 70] }, { shape: [70, 101], dtype: 'float16' }] },
    { name: 'gather', op: { kind: 'gather', axis: 0 }, inputs: [{ shape: [500, 33] }, { shape: [40], dtype: 'int32', values: { below: 500 } }] },
  ]; // prettier-ignore
  test.each(large.map((c) => [c.name, c] as const))('%s of arguments wider than a binding', async (_, c) => {
    await checkKernelCase(c, less, oracle);
  });

  test('an argument in more pieces than there are bindings is refused, with both numbers', () => {
    using memory = new Scope();
    const x = memory.run(() => buildInput({ shape: [100_000] }, 0, less));
    const op: KernelOp = { kind: 'softmax', axis: 0 };
    expect(() => memory.run(() => dispatch(definitionOf(op), op, [x]))).toThrow(
      /softmax\/rows: its arguments take 5\d storage bindings of at most 16384 bytes, this device has \d+/,
    );
  });
});

describe.skipIf(missing)('every choice that tuning may take agrees with the oracle', () => {
  const conv = testCases.find((c) => c.name === 'conv2d 3x3 48 17x19')!;
  const product = testCases.find((c) => c.name === 'matmul 65x700x130')!;
  const flash = testCases.find((c) => c.name === 'attention 2x2 70x200 d17')!;
  const norm: KernelCase = {
    name: 'groupNorm large',
    op: { kind: 'groupNorm', groups: 2, eps: 1e-5, activation: 'silu' },
    inputs: [{ shape: [1, 6, 120, 120], values: { below: 50 } }, { shape: [6] }, { shape: [6] }],
  };
  test.each([conv, product, flash, norm, ...normChoiceCases].map((c) => [c.name, c] as const))(
    '%s',
    async (_, c) => {
      expect((await checkEveryChoice(c, device, oracle)).length).toBeGreaterThan(1);
    },
  );
});

test.skipIf(missing)('more workgroups than one row of a dispatch holds are folded', async () => {
  const rows = foldWidth + 70;
  const op: KernelOp = { kind: 'softmax', axis: 1 };
  await checkKernelCase(
    { name: 'many rows', op, inputs: [{ shape: [rows, 257], dtype: 'float16' }] },
    device,
    oracle,
  );
});

test.skipIf(missing)("a user's WGSL runs, or its definition, or an error says that it cannot", async () => {
  const source = `
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < 3u) { y[id.x] = 2.0 * x[id.x]; }
}`;
  const op = {
    name: 'twice',
    output: { shape: [3], dtype: 'float32' },
    sources: { webgpu: source },
  } as const;
  const x = tensor([1, -2, 3], { device });
  expect([...(await custom(op, [x]).data())]).toEqual([2, -4, 6]);
  // A view into a buffer starts where a binding cannot: it is brought to where one can.
  const view = tensor([0, 1, -2, 3], { device }).slice(0, 1, 4);
  expect([...(await custom(op, [view]).data())]).toEqual([2, -4, 6]);
  const other = { ...op, sources: { cuda: '…' } };
  expect([...(await custom(other, [x], ([t]) => add(t!, t!)).data())]).toEqual([2, -4, 6]);
  expect(() => custom(other, [x])).toThrow(
    'custom: webgpu cannot run it on (float32[3]) and it has no decomposition',
  );
});

test.skipIf(missing)(
  'tuning times the tiles of a product, takes one, and finds it again in its file',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'darkroom-tune-'));
    const tuneStore = fileTuneStore(folder);
    const multiply = (on: Device): void => {
      using memory = new Scope();
      const a = memory.run(() => buildInput({ shape: [96, 64] }, 1, on));
      const b = memory.run(() => buildInput({ shape: [64, 80] }, 2, on));
      memory.run(() => dispatch(definitionOf({ kind: 'matmul' }), { kind: 'matmul' }, [a, b]));
    };
    const tuned = await webgpu({ autotune: 'full', tuneStore });
    const decisions: string[] = [];
    tuned.tuner.onDecision = (d) => decisions.push(d.winner);
    multiply(tuned);
    expect(await tuned.tune()).toBe(1);
    expect(decisions[0]).toMatch(/^\d+x\d+x\d+(by\d+)?$/);
    tuned[Symbol.dispose]();

    const later = await webgpu({ autotune: 'full', tuneStore });
    multiply(later);
    expect(later.tuner.pending).toBe(0);
    later[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  },
);

test.skipIf(missing)('what was prepared is compiled ahead by ready()', async () => {
  const fresh = await webgpu();
  const backend = fresh.backend as WebGpuBackend;
  const op: KernelOp = { kind: 'map', expr: ['mul', ['in', 0], 3], dtype: 'float32' };
  const spec: ArgSpec = { dtype: 'float32', layout: { shape: [8], strides: [1], offset: 0 } };
  backend.prepare(op, [spec, spec], { id: 'wgsl' });
  await backend.ready();
  expect(backend.counters.compiled).toBe(backend.counters.programs);
  fresh[Symbol.dispose]();
});
