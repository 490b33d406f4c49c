// Plans of the full-size models on the NULL backend: kernels by kind and bytes of memory. A change that claims to change
// nothing leaves these numbers as they are.

import {
  Device,
  keep,
  nullBackend,
  optimize,
  planGraph,
  recordGraph,
  summarizePlan,
  Tensor,
} from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import { expect, test } from 'vitest';
import { AutoencoderKL } from './autoencoder-kl.ts';
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
): object {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      Tensor.abstract(name === 'time' ? 'float32' : 'float16', shape, device),
    ]),
  );
  const params = model.stateDict();
  const { graph, constants } = recordGraph(body, inputs, params);
  const plan = planGraph(optimize(graph), { device, params, constants });
  const kinds: Record<string, number> = {};
  for (const { op } of plan.steps) kinds[op.kind] = (kinds[op.kind] ?? 0) + 1;
  const { opsBefore, steps, stepsAtEveryCall, unsharedBytes, arenaBytes } = summarizePlan(plan, graph);
  return { opsBefore, steps, stepsAtEveryCall, unsharedBytes, arenaBytes, kinds };
}

const crossAttention = (n: number, kind: string): string[] =>
  Array.from({ length: n }, () => `CrossAttn${kind}Block2D`);
const sd15 = {
  block_out_channels: [320, 640, 1280, 1280],
  down_block_types: [...crossAttention(3, 'Down'), 'DownBlock2D'],
  up_block_types: ['UpBlock2D', ...crossAttention(3, 'Up')],
  cross_attention_dim: 768,
  attention_head_dim: 8,
};
const sdxl = {
  block_out_channels: [320, 640, 1280],
  down_block_types: ['DownBlock2D', ...crossAttention(2, 'Down')],
  up_block_types: [...crossAttention(2, 'Up'), 'UpBlock2D'],
  cross_attention_dim: 2048,
  attention_head_dim: [5, 10, 20],
  transformer_layers_per_block: [1, 2, 10],
  use_linear_projection: true,
  addition_embed_type: 'text_time',
  addition_time_embed_dim: 256,
  projection_class_embeddings_input_dim: 2816,
};
const vae = {
  block_out_channels: [128, 256, 512, 512],
  down_block_types: Array.from({ length: 4 }, () => 'DownEncoderBlock2D'),
  up_block_types: Array.from({ length: 4 }, () => 'UpDecoderBlock2D'),
  layers_per_block: 2,
};

test('SD 1.5 UNet, 512x512 under guidance', () => {
  const device = new Device(nullBackend());
  const unet = withoutData(UNet2DConditionModel.fromConfig(sd15), device);
  const shapes = { sample: [2, 4, 64, 64], time: [1], text: [2, 77, 768] };
  expect(planOf(unet, device, shapes, (x) => unet.call(x['sample']!, x['time']!, x['text']!).sample))
    .toMatchInlineSnapshot(`
      {
        "arenaBytes": 91654400,
        "kinds": {
          "attention": 32,
          "conv2d": 98,
          "copy": 14,
          "groupNorm": 61,
          "layerNorm": 48,
          "map": 18,
          "matmul": 184,
          "resize": 3,
        },
        "opsBefore": 507,
        "steps": 458,
        "stepsAtEveryCall": 398,
        "unsharedBytes": 1622592000,
      }
    `);
});

test('SDXL UNet, 1024x1024 under guidance', () => {
  const device = new Device(nullBackend());
  const unet = withoutData(UNet2DConditionModel.fromConfig(sdxl), device);
  const shapes = { sample: [2, 4, 128, 128], time: [1], text: [2, 77, 2048], pooled: [2, 1280], ids: [2, 6] };
  const body = (x: Inputs): Tensor =>
    unet.call(x['sample']!, x['time']!, x['text']!, {
      addedCond: { textEmbeds: x['pooled']!, timeIds: x['ids']! },
    }).sample;
  expect(planOf(unet, device, shapes, body)).toMatchInlineSnapshot(`
    {
      "arenaBytes": 276766464,
      "kinds": {
        "attention": 140,
        "conv2d": 51,
        "copy": 14,
        "groupNorm": 46,
        "layerNorm": 210,
        "map": 85,
        "matmul": 743,
        "resize": 2,
      },
      "opsBefore": 1503,
      "steps": 1291,
      "stepsAtEveryCall": 1121,
      "unsharedBytes": 11900283904,
    }
  `);
});

test('VAE decoder, 512x512', () => {
  const device = new Device(nullBackend());
  const model = withoutData(AutoencoderKL.fromConfig(vae), device);
  expect(planOf(model, device, { z: [1, 4, 64, 64] }, (x) => model.decode(x['z']!))).toMatchInlineSnapshot(`
    {
      "arenaBytes": 335544320,
      "kinds": {
        "attention": 1,
        "conv2d": 36,
        "groupNorm": 30,
        "map": 1,
        "matmul": 4,
        "resize": 3,
      },
      "opsBefore": 75,
      "steps": 75,
      "stepsAtEveryCall": 75,
      "unsharedBytes": 2231402496,
    }
  `);
});
