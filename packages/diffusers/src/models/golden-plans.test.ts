// Plans of the full-size models on the NULL backend: kernels by kind and bytes of memory. A change that claims to
// change nothing leaves these numbers as they are.

import { Device, keep, nullBackend, tensor, Tensor } from '@darkroom/core';
import { isChannelsLast } from '@darkroom/core/backend';
import { channelsLast, optimize, passes, planGraph, recordGraph, summarizePlan } from '@darkroom/core/graph';
import type { AnyModule } from '@darkroom/core';
import type { Pass } from '@darkroom/core/graph';
import { expect, test } from 'vitest';
import { AutoencoderKL } from './autoencoder-kl.ts';
import { clipG, clipL, sd15UNet, sdxlUNet, ssd1bUNet, vae } from '../node/full-size.ts';
import { CLIPTextModel, CLIPTextModelWithProjection } from './clip-text.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';

type Inputs = Readonly<Record<string, Tensor>>;

/** Float16 weights without memory, as planning needs them. */
function withoutData<M extends AnyModule>(model: M, device: Device): M {
  for (const [, module] of model.namedModules())
    for (const [key, p] of [...module.ownParameters()])
      module.setParameter(key, keep(Tensor.abstract('float16', p.shape, device)));
  return model;
}

/** Kernels by kind of the optimised plan, and what it needs. */
function planOf(
  model: AnyModule,
  device: Device,
  shapes: Readonly<Record<string, readonly number[]>>,
  body: (x: Inputs) => Tensor,
  list: readonly Pass[] = passes,
): object {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      Tensor.abstract(name === 'time' ? 'float32' : name === 'tokens' ? 'int32' : 'float16', shape, device),
    ]),
  );
  const params = model.stateDict();
  const { graph, constants } = recordGraph(body, inputs, params);
  const plan = planGraph(optimize(graph, list), { device, params, constants });
  const kinds: Record<string, number> = {};
  for (const { op } of plan.launches) kinds[op.kind] = (kinds[op.kind] ?? 0) + 1;
  const { opsBefore, launches, launchesAtEveryCall, unsharedBytes, arenaBytes } = summarizePlan(plan, graph);
  return { opsBefore, launches, launchesAtEveryCall, unsharedBytes, arenaBytes, kinds };
}

test('SD 1.5 UNet, 512x512 under guidance', () => {
  const device = new Device(nullBackend());
  const unet = withoutData(UNet2DConditionModel.fromConfig(sd15UNet), device);
  const shapes = { sample: [2, 4, 64, 64], time: [1], text: [2, 77, 768] };
  expect(
    planOf(
      unet,
      device,
      shapes,
      (x) => unet.call(x['sample']!, x['time']!, { encoderHiddenStates: x['text']! }).sample,
    ),
  ).toMatchInlineSnapshot(`
    {
      "arenaBytes": 217646848,
      "kinds": {
        "attention": 32,
        "conv2d": 98,
        "copy": 31,
        "groupNorm": 61,
        "layerNorm": 48,
        "map": 18,
        "matmul": 131,
        "resize": 3,
      },
      "launches": 422,
      "launchesAtEveryCall": 366,
      "opsBefore": 507,
      "unsharedBytes": 1748581760,
    }
  `);
});

test('SD 1.5 UNet from contiguous weights in channels last: what is copied is joined, converted, or a weight', () => {
  const device = new Device(nullBackend());
  const unet = withoutData(UNet2DConditionModel.fromConfig(sd15UNet), device);
  const [sample, time, text] = [[2, 4, 64, 64], [1], [2, 77, 768]].map((shape, i) =>
    Tensor.abstract(i === 1 ? 'float32' : 'float16', shape, device),
  );
  const inputs = { sample: sample!, time: time!, text: text! };
  const body = (x: Inputs): Tensor => unet.call(x['sample']!, x['time']!, { encoderHiddenStates: x['text']! }).sample;
  const { graph } = recordGraph(body, inputs, unet.stateDict());
  const optimized = optimize(graph, [channelsLast, ...passes]);
  const weights = new Set(optimized.params.map((p) => p.id));
  const copies = optimized.nodes.filter((n) => n.op.kind === 'copy' && !n.inputs.some((id) => weights.has(id)));
  expect(copies.filter((n) => n.module.includes('transformer_blocks'))).toEqual([]);
  const images = copies.filter((n) => n.shape.length === 4);
  const joins = images.filter((n) => n.inputs.length > 1);
  expect([joins.length, images.length - joins.length]).toEqual([12, 1]); // skips; the sample
  const values = new Map(optimized.nodes.map((n) => [n.id, n]));
  const convolved = optimized.nodes.filter((n) => n.op.kind === 'conv2d').map((n) => values.get(n.inputs[0]!)!);
  expect(convolved.every(({ shape, strides }) => isChannelsLast({ shape, strides, offset: 0 }))).toBe(true);
}); // prettier-ignore

/** A prompt and a negative one. */
function textPlan(encoder: CLIPTextModel): object {
  const device = new Device(nullBackend());
  const model = withoutData(encoder, device);
  const order = Array.from({ length: 77 }, (_, i) => i);
  const positions = (): Tensor => tensor(order, { shape: [1, 77], dtype: 'int32', device });
  const body = ({ tokens }: Inputs): Tensor =>
    model.text_model.call({ tokens: tokens!, positions: positions() }, 'float16', 0).last;
  return planOf(model, device, { tokens: [2, 77] }, body);
}

test("SD 1.5's text encoder", () => {
  expect(textPlan(CLIPTextModel.fromConfig(clipL))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 44060160,
      "kinds": {
        "attention": 12,
        "copy": 24,
        "gather": 2,
        "layerNorm": 25,
        "map": 1,
        "matmul": 48,
      },
      "launches": 112,
      "launchesAtEveryCall": 87,
      "opsBefore": 136,
      "unsharedBytes": 77176320,
    }
  `);
});

test("SDXL's second text encoder", () => {
  expect(textPlan(CLIPTextModelWithProjection.fromConfig(clipG))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 317381120,
      "kinds": {
        "attention": 32,
        "copy": 64,
        "gather": 2,
        "layerNorm": 65,
        "map": 1,
        "matmul": 128,
      },
      "launches": 292,
      "launchesAtEveryCall": 227,
      "opsBefore": 356,
      "unsharedBytes": 467192320,
    }
  `);
});

/** 1024x1024 under guidance. */
function xlPlan(config: object): object {
  const device = new Device(nullBackend());
  const unet = withoutData(UNet2DConditionModel.fromConfig({ ...config }), device);
  const shapes = { sample: [2, 4, 128, 128], time: [1], text: [2, 77, 2048], pooled: [2, 1280], ids: [2, 6] };
  const body = (x: Inputs): Tensor =>
    unet.call(x['sample']!, x['time']!, {
      encoderHiddenStates: x['text']!,
      addedCond: { textEmbeds: x['pooled']!, timeIds: x['ids']! },
    }).sample;
  return planOf(unet, device, shapes, body);
}

test('SDXL UNet', () => {
  expect(xlPlan(sdxlUNet)).toMatchInlineSnapshot(`
    {
      "arenaBytes": 926419712,
      "kinds": {
        "attention": 140,
        "conv2d": 51,
        "copy": 84,
        "groupNorm": 46,
        "layerNorm": 210,
        "map": 85,
        "matmul": 587,
        "resize": 2,
      },
      "launches": 1205,
      "launchesAtEveryCall": 981,
      "opsBefore": 1503,
      "unsharedBytes": 12549922176,
    }
  `);
});

test('SSD-1B UNet: fewer transformer layers, none in the middle', () => {
  expect(xlPlan(ssd1bUNet)).toMatchInlineSnapshot(`
    {
      "arenaBytes": 556389632,
      "kinds": {
        "attention": 68,
        "conv2d": 49,
        "copy": 48,
        "groupNorm": 43,
        "layerNorm": 102,
        "map": 48,
        "matmul": 297,
        "resize": 2,
      },
      "launches": 657,
      "launchesAtEveryCall": 541,
      "opsBefore": 810,
      "unsharedBytes": 7356442496,
    }
  `);
});

test('VAE decoder, 512x512', () => {
  const device = new Device(nullBackend());
  const model = withoutData(AutoencoderKL.fromConfig(vae), device);
  expect(planOf(model, device, { z: [1, 4, 64, 64] }, (x) => model.decode(x['z']!))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 337120256,
      "kinds": {
        "attention": 1,
        "conv2d": 36,
        "copy": 2,
        "groupNorm": 30,
        "map": 1,
        "matmul": 2,
        "resize": 3,
      },
      "launches": 75,
      "launchesAtEveryCall": 73,
      "opsBefore": 75,
      "unsharedBytes": 2232978432,
    }
  `);
});
