// An op from outside: what docs/add-an-op.md asks for, in seven files, without an edit of any package. It passes the
// suite of the built-in ops on every backend, and a trace of it is saved, read in another device's process and
// replayed.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { cuda } from '@darkroom/backend-cuda';
import { emulatorIsMissing } from '@darkroom/backend-cuda/testing';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { loadTraced, Module, scope, tensor, trace } from '@darkroom/core';
import { registerOp } from '@darkroom/core/backend';
import { parseGraph, recordGraph, serializeGraph } from '@darkroom/core/graph';
import type { Device, Tensor } from '@darkroom/core';
import { checkKernelCase, choosing } from '@darkroom/core/testing';
import { rollArbitrary, rollCases } from './cases.ts';
import { addRoll } from './register.ts';
import { roll, rollDefinition } from './roll.ts';

process.env['DARKROOM_CUDA_EMULATOR_FLAGS'] ??= '-O1';
const without = { cpu: false, webgpu: await adapterIsMissing(), cuda: emulatorIsMissing() };
const open: Readonly<Record<keyof typeof without, () => Promise<Device>>> = {
  cpu: () => cpu({ threads: 2 }),
  webgpu: () => webgpu(),
  cuda: () => cuda({ emulator: true, cache: false }),
};

let oracle: Device;
beforeAll(async () => {
  addRoll();
  oracle = await cpu({ kernels: 'reference', threads: 1 });
});
afterAll(() => oracle[Symbol.dispose]());

describe.each(Object.keys(without) as (keyof typeof without)[])('%s', (name) => {
  const missing = without[name];
  let device: Device;
  beforeAll(async () => {
    if (!missing) device = await open[name]();
  });
  afterAll(() => device?.[Symbol.dispose]());

  test.skipIf(missing)('random cases and the table agree with the oracle', async () => {
    const numRuns = Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? (name === 'cpu' ? 150 : 4));
    await fc.assert(
      fc.asyncProperty(rollArbitrary(fc), fc.nat(1000), (c, seed) =>
        checkKernelCase(c, device, oracle, seed),
      ),
      { numRuns },
    );
    for (const c of rollCases) await checkKernelCase(c, device, oracle);
  });

  test.skipIf(missing)('a device without a kernel runs its definition', async () => {
    const plain = choosing(device, (choices, op) => (op.kind === 'roll' ? [] : choices));
    for (const c of rollCases.slice(0, 2)) await checkKernelCase(c, plain, oracle);
  });

  test.skipIf(missing)('a trace is saved, read back and replayed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'darkroom-roll-'));
    const path = join(folder, 'roll.json');
    const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], device });
    const want = [4, 5, 6, 1, 2, 3];
    const traced = await trace(new Rolling(), [x]);
    expect(await values(traced.call(x))).toEqual(want);
    await traced.save(path);
    const loaded = await loadTraced<[Tensor], Tensor>(path, { device, params: new Map() });
    expect(await values(loaded.call(x))).toEqual(want);
    expect(loaded.plans[0]!.launches.map(({ op }) => op.kind)).toEqual(['roll', 'roll']);
    for (const t of [traced, loaded, x]) t.dispose();
    rmSync(folder, { recursive: true });
  });
});

/** Down by one, and to the right by three places of three. */
class Rolling extends Module<[x: Tensor], Tensor> {
  override forward(x: Tensor): Tensor {
    return scope(() => roll(roll(x, 1, 0), 3, 1));
  }
}

async function values(t: Tensor): Promise<number[]> {
  const read = [...(await t.data())];
  t.dispose();
  return read;
}

test('a file with attributes that the descriptor does not have is refused', () => {
  const { graph } = recordGraph(({ x }) => roll(x!, 1, 0), { x: tensor([1, 2], { device: oracle }) });
  expect(parseGraph(serializeGraph(graph), 'a.json')).toEqual(graph);
  const text = serializeGraph(graph);
  expect(() => parseGraph(text.replace('"shift":1', '"shift":-1'), 'a.json')).toThrow(
    "a.json: node 0: 'shift' of roll may not be -1",
  );
  expect(() => parseGraph(text.replace('"shift":1', '"shift":1,"by":2'), 'a.json')).toThrow(
    "a.json: node 0: roll has an unknown attribute 'by'",
  );
});

test('a kind is registered once', () => {
  expect(() => registerOp(rollDefinition)).not.toThrow();
  expect(() => registerOp({ ...rollDefinition })).toThrow("core: op kind 'roll' is there already");
  expect(() => registerOp({ ...rollDefinition, kind: 'slice' as never })).toThrow(
    "'slice' is a kind of view or result",
  );
});
