// The property-tested kernel suite on the CPU: fast kernels against the reference, eager against traced.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { add, custom, Device, embedding, groupNorm, matmul, Scope, tensor, zeros } from '@darkroom/core';
import { definitionOf, dispatch } from '@darkroom/core/backend';
import type { ArgSpec, Backend, KernelOp } from '@darkroom/core/backend';
import {
  buildInput,
  checkKernelCase,
  kernelArbitraries,
  pictureNormTolerance,
  relativeL2,
  testCases,
} from '@darkroom/core/testing';
import { fileTuneStore } from '@darkroom/core/node';
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

describe('the case table agrees with the oracle', () => {
  test.each(testCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    await checkKernelCase(c, device, oracle);
  });
});

/** A device over the same backend whose `choices` are filtered, so that core must decompose what is refused. */
function refusing(device_: Device, refuse: (op: KernelOp) => boolean): Device {
  const { backend } = device_;
  const bound = Object.fromEntries(
    (['prepare', 'run', 'alloc', 'free', 'write', 'read', 'readSync'] as const).map((name) => [
      name,
      { value: (backend[name] as () => unknown).bind(backend) },
    ]),
  );
  const choices = {
    value: (op: KernelOp, args: readonly ArgSpec[]) => (refuse(op) ? [] : backend.choices(op, args)),
  };
  return new Device(Object.create(backend, { ...bound, choices }) as Backend);
}

describe('decompositions agree with the kernels they define', () => {
  const kinds = ['softmax', 'attention', 'groupNorm', 'layerNorm', 'rmsNorm'] as const;
  for (const kind of kinds) {
    test(kind, async () => {
      const plain = refusing(oracle, (op) => (kinds as readonly string[]).includes(op.kind));
      const arbitrary = kernelArbitraries(fc)[kind];
      // Intermediates of a decomposition are rounded to the storage dtype: compared in float32 only.
      const float32 = arbitrary.map((c) => ({
        ...c,
        inputs: c.inputs.map((i) => ({ ...i, dtype: 'float32' as const })),
      }));
      await fc.assert(
        fc.asyncProperty(float32, (c) => checkKernelCase(c, plain, oracle)),
        { numRuns: Math.ceil(runs / 3) },
      );
    });
  }

  test('an epilogue is the product, then a map', async () => {
    const split = refusing(device, (op) => 'epilogue' in op);
    const { matmul: products, conv2d } = kernelArbitraries(fc);
    const float32 = fc
      .oneof(products, conv2d)
      .map((c) => ({ ...c, inputs: c.inputs.map((i) => ({ ...i, dtype: 'float32' as const })) }));
    await fc.assert(
      fc.asyncProperty(float32, (c) => checkKernelCase(c, split, oracle)),
      { numRuns: Math.ceil(runs / 3) },
    );
  });
});

test('results do not depend on the number of threads, and memory returns to where it was', async () => {
  const one = await cpu({ threads: 1 });
  const three = await cpu({ threads: 3 });
  for (const c of testCases) {
    const results = [];
    for (const d of [one, three]) {
      const memory = new Scope();
      const inputs = memory.run(() => c.inputs.map((spec, i) => buildInput(spec, i, d)));
      const output = memory.run(() => dispatch(definitionOf(c.op), c.op, inputs, { device: d }));
      results.push([...(await output.data())]);
      memory.dispose();
      expect(d.memory().live).toBe(0);
    }
    expect(results[0], c.name).toEqual(results[1]);
  }
  one[Symbol.dispose]();
  three[Symbol.dispose]();
});

test.each(['contiguous', 'channelsLast'] as const)(
  'a picture-sized %s group keeps its digits',
  async (layout) => {
    using memory = new Scope();
    const x = memory.run(() => buildInput({ shape: [1, 2, 520, 520], layout }, 3, device));
    const values = (await x.data()) as Float32Array;
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length + 1e-6);
    const y = memory.run(() => groupNorm(x, 1, { eps: 1e-6 }));
    const error = relativeL2(await y.data(), values.map((v) => (v - mean) / deviation)); // prettier-ignore
    expect(!(error <= pictureNormTolerance), `relative error ${error}`).toBe(false);
  },
);

test('a custom op runs its definition, or says that the device cannot run it', async () => {
  const x = tensor([1, -2], { device });
  const op = { name: 'twice', output: { shape: [2], dtype: 'float32' }, sources: { cuda: '…' } } as const;
  expect([...(await custom(op, [x], ([t]) => add(t!, t!)).data())]).toEqual([2, -4]);
  expect(() => custom(op, [x])).toThrow(
    'custom: cpu cannot run it on (float32[2]) and it has no decomposition',
  );
});

test('ids outside a table are an error that names both', async () => {
  const table = zeros([5, 2], { device });
  const ids = tensor([4, 5], { dtype: 'int32', device });
  expect(() => embedding(table, ids)).toThrow("gather: id 5 is outside the table's 5 rows");
});

test('tuning measures the register blocks of a product, takes one, and finds it again in its file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-tune-'));
  const tuneStore = fileTuneStore(folder);
  const tuned = await cpu({ threads: 1, autotune: 'full', tuneStore });
  const decisions: string[] = [];
  tuned.tuner.onDecision = (d) => decisions.push(d.winner);
  const a = zeros([64, 64], { device: tuned });
  matmul(a, a);
  expect(await tuned.tune()).toBe(1);
  expect(['simd/6x8', 'simd/4x8']).toContain(decisions[0]);
  matmul(a, a);
  expect(tuned.tuner.pending).toBe(0);
  tuned[Symbol.dispose]();

  const later = await cpu({ threads: 1, autotune: 'full', tuneStore });
  const b = zeros([64, 64], { device: later });
  matmul(b, b);
  expect(later.tuner.pending).toBe(0);
  later[Symbol.dispose]();
  const [file] = readdirSync(folder);
  writeFileSync(join(folder, file!), '{"broken');
  const untuned = await cpu({ threads: 1, autotune: 'full', tuneStore });
  matmul(zeros([64, 64], { device: untuned }), zeros([64, 64], { device: untuned }));
  expect(untuned.tuner.pending).toBe(1); // a damaged cache is an empty one
  untuned[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});
