// cuDNN's engines for a described H100, without a GPU: heuristics name them, cuDNN's own checks of support pass them, and
// their kernels are compiled; none is run. (vitest gives every file a process of its own.)

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { activations, Device, nullBackend, Scope } from '@darkroom/core';
import { definitionOf, layoutOf } from '@darkroom/core/backend';
import type { DType } from '@darkroom/core';
import type { ArgSpec, Conv2dOp, Json } from '@darkroom/core/backend';
import { buildInput, kernelArbitraries } from '@darkroom/core/testing';
import { loadAddon } from '../node/addon.ts';
import { CudnnDescriptors, engineConfig } from './cudnn-engines.ts';
import type { EngineConfig } from './cudnn-engines.ts';
import { cudnnGraph } from './cudnn-library.ts';
import type { Finish } from './cudnn-testing.ts';
import { buildPlan, cudnnIsMissing, describedCudnn, deviceProperties, finishes, sd15Attentions, sd15Convolutions, unanswered } from './cudnn-testing.ts'; // prettier-ignore

const missing = cudnnIsMissing();

describe.skipIf(missing)("cuDNN's engines on sm_90", () => {
  const library = missing ? undefined! : describedCudnn('sm_90');
  const convolution = (format: 'channelsLast' | 'contiguous', op: Partial<Conv2dOp> = {}, dtype: DType = 'float32') => {
    const of = (shape: number[]): ArgSpec => ({ dtype, layout: layoutOf(shape, format) });
    const whole: Conv2dOp = { kind: 'conv2d', stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1, ...op };
    return [whole, [of([2, 320, 64, 64]), of([320, 320 / whole.groups, 3, 3]), of([2, 320, 64, 64])]] as const;
  }; // prettier-ignore

  test.each(['float16', 'bfloat16', 'float32'] as const)('every SD 1.5 convolution in %s', (dtype) => {
    for (const format of ['channelsLast', 'contiguous'] as const) {
      expect(unanswered(library, sd15Convolutions(finishes.plain, dtype, format))).toEqual([]);
      expect(unanswered(library, sd15Convolutions(finishes.bias, dtype, format))).toEqual([]);
    }
    expect(unanswered(library, sd15Convolutions(finishes.residual, dtype))).toEqual([]);
    if (dtype !== 'float32')
      expect(unanswered(library, sd15Convolutions(finishes.embedding, dtype))).toEqual([]);
  });
  test.each(['silu', 'gelu', 'geluTanh', 'quickGelu'] as const)('… with bias, residual and %s', (name) => {
    const { epilogue, extras } = finishes.residual;
    const finish = { epilogue: activations[name](epilogue!), extras };
    expect(unanswered(library, sd15Convolutions(finish))).toEqual([]);
  });
  test('at most six engines, and three where cuDNN compiles the kernel', () => {
    const counts = (finish: Finish): number[] =>
      sd15Convolutions(finish).map(({ op, args }) => library.choices(op, args).length);
    expect(new Set(counts(finishes.bias))).toEqual(new Set([6]));
    expect(new Set(counts(finishes.residual))).toEqual(new Set([3]));
  });
  test('no fused residual in contiguous images', () => {
    const all = sd15Convolutions(finishes.residual, 'float16', 'contiguous');
    expect(unanswered(library, all).length).toBe(all.length);
  });
  test('the first engine of each can be built, with a workspace of a few MiB', () => {
    const fused = sd15Convolutions(finishes.residual).filter((_, i) => i % 8 === 1);
    const ready = [finishes.plain, finishes.bias].flatMap((f) => sd15Convolutions(f));
    const attentions = sd15Attentions().filter(({ op }) => op.kind === 'attention' && op.mask === 'none');
    for (const problem of [...ready, ...fused, ...attentions])
      expect([problem.name, buildPlan('sm_90', library, problem) <= 64 << 20]).toEqual([problem.name, true]);
  });
  test.each(['float16', 'bfloat16'] as const)('every SD 1.5 attention in %s but the causal one', (dtype) => {
    const none = unanswered(library, sd15Attentions(dtype));
    expect(none).toEqual(['attention 2x12 77x77 d64 causal']);
  });

  const enginesOf = (problem: ReturnType<typeof convolution>): number[] =>
    library.choices(...problem).map((c) => (c.params as unknown as EngineConfig).engine);
  test('full float32 goes to no engine of tensor cores, which tf32 gets first', () => {
    const [tf32, exact] = [enginesOf(convolution('channelsLast', { precision: 'tf32' })), enginesOf(convolution('channelsLast'))]; // prettier-ignore
    expect(exact.length).toBeGreaterThan(0);
    expect(exact).not.toContain(tf32[0]);
  });
  test('asymmetric padding, stride, dilation, groups', () => {
    const of = (shape: number[]): ArgSpec => ({ dtype: 'float16', layout: layoutOf(shape, 'channelsLast') });
    const op: Conv2dOp = {
      kind: 'conv2d',
      stride: [2, 1],
      padding: [0, 1, 2, 0],
      dilation: [1, 2],
      groups: 4,
    };
    const args = [of([2, 32, 17, 20]), of([64, 8, 3, 3])];
    const { dtype, layout } = definitionOf(op).infer(op, args);
    expect(library.choices(op, [...args, { dtype, layout }]).length).toBeGreaterThan(0);
  });

  test('a choice kept as JSON gives the same configuration again', () => {
    const made = new CudnnDescriptors({ cudnn: loadAddon().cudnn, properties: deviceProperties('sm_90') });
    const problems = [sd15Convolutions(finishes.plain)[1]!, sd15Convolutions(finishes.residual)[1]!, sd15Attentions()[0]!];
    for (const { op, args } of problems) {
      for (const { params } of library.choices(op, args)) {
        const kept = JSON.parse(JSON.stringify(params)) as Json & EngineConfig;
        const config = engineConfig(made, cudnnGraph(op, args)!, kept);
        const [engine] = config.fill('enginecfgEngine', [made.make('engine')]);
        expect(engine!.get('engineGlobalIndex', 'int64')).toEqual([kept.engine]);
        const knobs = config.fill('enginecfgKnobChoices', made.several('knobChoice', 64));
        expect(new Map(knobs.map((k) => [k.get('knobChoiceKnobType', 'knobType')[0], k.get('knobChoiceKnobValue', 'int64')[0]]))).toEqual(new Map(kept.knobs));
      }
    }
    // Engines are numbered: one that does not exist is refused.
    const { op, args } = problems[0]!;
    expect(() => engineConfig(made, cudnnGraph(op, args)!, { engine: 9999, knobs: [] })).toThrow(/NOT_SUPPORTED|BAD_PARAM/);
    made[Symbol.dispose]();
  }); // prettier-ignore

  test('asked about any convolution or attention it answers and does not throw', () => {
    const device = new Device(nullBackend());
    const { conv2d, attention } = kernelArbitraries(fc);
    let answers = 0;
    fc.assert(
      fc.property(fc.oneof(conv2d!, attention!), ({ op, inputs }) => {
        using memory = new Scope();
        const specs = memory.run(() => inputs.map((x, i) => buildInput(x, i, device).spec));
        answers += library.choices(op, [...specs, definitionOf(op).infer(op, specs)]).length > 0 ? 1 : 0;
      }),
      { numRuns: 300, seed: 1 },
    );
    expect(answers).toBeGreaterThan(10);
  });
});
