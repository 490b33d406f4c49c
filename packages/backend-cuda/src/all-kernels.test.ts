// Every kernel text of the shared suite through the real NVRTC: no GPU is needed. Each text is compiled for one of the
// architectures in turn, so that all texts and all architectures are covered.

import { delimiter } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Device, nullBackend, Scope } from '@darkroom/core';
import { definitionOf } from '@darkroom/core/backend';
import { buildInput, kernelArbitraries, testCases, skip } from '@darkroom/core/testing';
import type { KernelCase } from '@darkroom/core/testing';
import type { KernelText } from '@darkroom/gpu-kernels';
import { compileOptions, sourceOf } from './compiler.ts';
import { compile, diagnose, explain, loadAddon } from './node/addon.ts';
import { factoryOf } from './kernels/index.ts';
import { addonIsMissing, architectures, traitsOfArchitecture } from './node/testing.ts';

const sitePackages = (process.env['DARKROOM_SITE_PACKAGES'] ?? '').split(delimiter).filter(Boolean);
const nvrtc = addonIsMissing() ? undefined : diagnose({ sitePackages, emulator: false }).libraries.nvrtc;
const missing = !nvrtc?.found && skip('nvrtc', nvrtc ? explain('nvrtc', nvrtc) : 'the addon is missing');

/** The texts of a case: every choice, for aligned slices and for others. */
function textsOf(c: KernelCase, architecture: number, on: Device): KernelText[] {
  using memory = new Scope();
  if (c.op.kind === 'custom') return [];
  const { op } = c;
  const inputs = memory.run(() => c.inputs.map((x, i) => buildInput(x, i, on).spec));
  const args = [...inputs, definitionOf(op).infer(op, inputs)].map(({ dtype, layout }) => ({
    dtype,
    layout: { ...layout, offset: 0 },
  }));
  const traits = traitsOfArchitecture(architecture);
  return factoryOf(op)!
    .choices(op, args, traits)
    .flatMap((id) =>
      [true, false].flatMap((wide) => factoryOf(op)!.prepare(op, args, id, traits, wide).dispatches),
    )
    .map((dispatch) => dispatch.text);
}

describe.skipIf(missing)('every kernel compiles', () => {
  const device = new Device(nullBackend());
  const cases = [
    ...testCases,
    ...Object.values(kernelArbitraries(fc)).flatMap((a) => fc.sample(a, { numRuns: 6, seed: 1 })),
  ];
  test.each(architectures.map((a, i) => [a, i]))('for sm_%i', (architecture, turn) => {
    const sources = new Map<string, KernelText>();
    for (const c of cases) for (const t of textsOf(c, architecture, device)) sources.set(sourceOf(t), t);
    let compiled = 0;
    for (const [i, [source, text]] of [...sources].entries()) {
      if (i % architectures.length !== turn) continue;
      const options = compileOptions(`sm_${architecture}`, text.unfused);
      compile(loadAddon().nvrtc, text.label, source, options);
      compiled++;
    }
    expect(compiled).toBeGreaterThan(15);
  });
});
