// The passes on whole models, run op by op on the CPU: every bit of the recorded graph in float32.

import { randomNormal, Scope, tensor } from '@darkroom/core';
import { optimize, recordGraph, runGraph } from '@darkroom/core/graph';
import type { Device, Tensor } from '@darkroom/core';
import type { Graph, Recording } from '@darkroom/core/graph';
import { narrowTraceTolerance, relativeL2 } from '@darkroom/core/testing';
import { cpu } from '@darkroom/backend-cpu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { emoji } from '../node/testing.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import type { AutoencoderKL } from './autoencoder-kl.ts';
import type { CLIPTextModel } from './clip-text.ts';
import type { UNet2DConditionModel } from './unet2d-condition.ts';

let device: Device;
let pipe: StableDiffusionPipeline;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
  pipe = await StableDiffusionPipeline.fromPretrained(emoji, { device, dtype: 'float32' });
});
afterAll(() => {
  pipe.dispose();
  device[Symbol.dispose]();
});

interface Case extends Recording {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly params: ReadonlyMap<string, Tensor>;
}

const models: Readonly<Record<string, () => Case>> = {
  UNet() {
    const unet = pipe.unet as UNet2DConditionModel;
    const [sample, text] = [[2, 4, 16, 16], [2, 77, 128]].map((s, i) => randomNormal(s, { device, seed: i }));
    const inputs = { sample: sample!, time: tensor([321], { device }), text: text! };
    const params = unet.stateDict();
    return { ...recordGraph((x) => unet.call(x['sample']!, x['time']!, { encoderHiddenStates: x['text']! }).sample, inputs, params), inputs, params };
  },
  'VAE decoder'() {
    const vae = pipe.vae as AutoencoderKL;
    const inputs = { z: randomNormal([1, 4, 16, 16], { device, seed: 3 }) };
    const params = vae.stateDict();
    return { ...recordGraph(({ z }) => vae.decode(z!), inputs, params), inputs, params };
  },
  'text encoder'() {
    const model = pipe.textEncoder as CLIPTextModel;
    const tokens = tensor(Array.from({ length: 20 }, (_, i) => i * 7), { shape: [2, 10], dtype: 'int32', device });
    const positions = tensor(Array.from({ length: 10 }, (_, i) => i), { shape: [1, 10], dtype: 'int32', device });
    const inputs = { tokens, positions };
    const params = model.stateDict();
    const body = (x: Readonly<Record<string, Tensor>>): Tensor =>
      model.text_model.call({ tokens: x['tokens']!, positions: x['positions']! }, model.dtype, 0).last;
    return { ...recordGraph(body, inputs, params), inputs, params };
  },
}; // prettier-ignore

const run = (graph: Graph, { inputs, params, constants }: Case): ArrayLike<number> =>
  runGraph(graph, inputs, { params, constants, device })['output']!.dataSync();

test.each(Object.entries(models))('%s', (_, make) => {
  using memory = new Scope();
  memory.run(() => {
    const given = make();
    const optimized = optimize(given.graph);
    expect(optimized.nodes).not.toEqual(given.graph.nodes);
    expect(run(optimized, given)).toEqual(run(given.graph, given));
  });
});

test('in float16 a UNet differs by the roundings that are left out, and no more', async () => {
  await pipe.unet.to({ dtype: 'float16' });
  try {
    using memory = new Scope();
    memory.run(() => {
      const given = models['UNet']!();
      const half = Object.fromEntries(
        Object.entries(given.inputs).map(([name, t]) => [name, tensor(t.dataSync(), { shape: t.shape, dtype: 'float16', device })]),
      ); // prettier-ignore
      const unet = pipe.unet as UNet2DConditionModel;
      const recorded = recordGraph(
        (x) => unet.call(x['sample']!, x['time']!, { encoderHiddenStates: x['text']! }).sample,
        half,
        given.params,
      );
      const narrow = { ...recorded, inputs: half, params: given.params };
      const optimized = optimize(narrow.graph);
      const [got, want] = [run(optimized, narrow), run(narrow.graph, narrow)];
      const error = relativeL2(got, want);
      expect(error > 0 && error <= narrowTraceTolerance).toBe(true);
    });
  } finally {
    await pipe.unet.to({ dtype: 'float32' });
  }
});
