// Models from their configs: the real families have the published numbers of parameters, the middle of a trace in
// channels last copies nothing, and a config survives.

import { describe, expect, test } from 'vitest';
import { full, keep, Tensor } from '@darkroom/core';
import { recordGraph } from '@darkroom/core/graph';
import { AutoencoderKL, convertVaeKeys } from './autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection, convertTextEncoderKeys } from './clip-text.ts';
import { clipG, clipL, sd15UNet, sd21UNet, sdxlUNet, ssd1bUNet, vae, vegaUNet } from '../node/full-size.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';

const count = (model: { namedParameters(): Iterable<[string, Tensor]> }): number =>
  [...model.namedParameters()].reduce((n, [, p]) => n + p.elements, 0);

test.each([
  ['SD 1.5 UNet', () => UNet2DConditionModel.fromConfig(sd15UNet), 859_520_964],
  ['SD 2.1 UNet', () => UNet2DConditionModel.fromConfig(sd21UNet), 865_910_724],
  ['SDXL UNet', () => UNet2DConditionModel.fromConfig(sdxlUNet), 2_567_463_684],
  ['SSD-1B UNet', () => UNet2DConditionModel.fromConfig(ssd1bUNet), 1_331_334_404],
  ['Segmind Vega UNet', () => UNet2DConditionModel.fromConfig(vegaUNet), 745_225_604],
  ['VAE', () => AutoencoderKL.fromConfig(vae), 83_653_863],
  ['CLIP ViT-L/14 text', () => CLIPTextModel.fromConfig(clipL), 123_060_480],
  ['OpenCLIP bigG/14 text', () => CLIPTextModelWithProjection.fromConfig(clipG), 694_659_840],
] as const)('%s has its published number of parameters', (_, make, parameters) => {
  expect(count(make())).toBe(parameters);
});

describe('the SD 1.5 UNet traces without a device', () => {
  const unet = UNet2DConditionModel.fromConfig({
    ...sd15UNet,
    block_out_channels: [32, 64],
    down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
  });
  const run = (sample: Tensor): ReturnType<typeof recordGraph>['graph'] => {
    const t = Tensor.abstract('float32', [2]);
    const inputs = { sample, t, text: Tensor.abstract('float32', [2, 77, 768]) };
    return recordGraph(
      (x) => unet.call(x['sample']!, x['t']!, { encoderHiddenStates: x['text']! }).sample,
      inputs,
      unet.stateDict(),
    ).graph;
  };

  test('and in channels last no op of a transformer block is a copy', () => {
    const nhwc = Tensor.abstract('float32', [2, 8, 8, 4]).permute(0, 3, 1, 2);
    const graph = run(nhwc);
    const blocks = graph.nodes.filter((n) => n.module.includes('attentions'));
    expect(blocks.length).toBeGreaterThan(20);
    expect(blocks.filter((n) => n.op.kind === 'copy').map((n) => n.module)).toEqual([]);
    expect(graph.nodes.find((n) => n.op.kind === 'conv2d')!.module).toBe('unet.conv_in');
  });
});

describe('options of the families, traced for their shapes', () => {
  const base = {
    block_out_channels: [32, 64],
    down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'],
    cross_attention_dim: 48,
    attention_head_dim: 4,
  };
  const cases: readonly [string, object, object][] = [
    ['scale and shift', { resnet_time_scale_shift: 'scale_shift' }, {}],
    ['time activated once', { resnet_skip_time_act: true, time_embedding_act_fn: 'silu' }, {}],
    ['activation after the time embedding', { timestep_post_act: 'silu' }, {}],
    ['class table', { num_class_embeds: 10 }, { classLabels: [3, 4] }],
    ['class timestep', { class_embed_type: 'timestep' }, { classLabels: [3, 4] }],
    ['class concat', { num_class_embeds: 10, class_embeddings_concat: true }, { classLabels: [3, 4] }],
    ['guidance embedding', { time_cond_proj_dim: 24 }, { timestepCond: true }],
    [
      'text_time',
      {
        addition_embed_type: 'text_time',
        addition_time_embed_dim: 8,
        projection_class_embeddings_input_dim: 68,
      },
      { addedCond: true },
    ],
    ['encoder projection', { encoder_hid_dim: 40, encoder_hid_dim_type: 'text_proj' }, { width: 40 }],
    ['centred input', { center_input_sample: true }, {}],
    ['only cross attention', { only_cross_attention: true }, {}],
    ['no middle', { mid_block_type: null }, {}],
    ['plain middle', { mid_block_type: 'UNetMidBlock2D' }, {}],
    ['layers by block', { layers_per_block: [1, 3], transformer_layers_per_block: [2, 1] }, {}],
    ['output scale', { resnet_out_scale_factor: 1.4, mid_block_scale_factor: 1.4 }, {}],
  ];
  test.each(cases)('%s', async (_, config, given) => {
    const { cpu } = await import('@darkroom/backend-cpu');
    const device = await cpu({ threads: 1 });
    const unet = UNet2DConditionModel.fromConfig({ ...base, ...config });
    for (const [, module] of unet.namedModules()) {
      for (const [key, p] of [...module.ownParameters()])
        module.setParameter(key, keep(full(p.shape, 0.01, { device })));
    }
    const want = given as {
      classLabels?: number[];
      timestepCond?: boolean;
      addedCond?: boolean;
      width?: number;
    };
    const input = (shape: number[]): Tensor => full(shape, 0.5, { device });
    const conditioning = {
      encoderHiddenStates: input([2, 5, want.width ?? 48]),
      ...(want.classLabels && { classLabels: want.classLabels }),
      ...(want.timestepCond && { timestepCond: input([2, 24]) }),
      ...(want.addedCond && { addedCond: { textEmbeds: input([2, 20]), timeIds: input([2, 6]) } }),
    };
    const out = unet.call(input([2, 4, 9, 7]), 500, conditioning).sample;
    expect(out.shape).toEqual([2, 4, 9, 7]);
    expect((await out.data()).every(Number.isFinite)).toBe(true);
    const plain = { encoderHiddenStates: input([2, 5, 48]) };
    if (want.classLabels)
      expect(() => unet.call(input([2, 4, 9, 7]), 500, plain)).toThrow('needs classLabels');
    if (want.addedCond) expect(() => unet.call(input([2, 4, 9, 7]), 500, plain)).toThrow('needs addedCond');
    device[Symbol.dispose]();
  });
});

test('configs keep what they do not know', () => {
  const config = { ...sd15UNet, future_option: [1, 2], _name: 'x' };
  expect(UNet2DConditionModel.fromConfig(config).config).toBe(config);
});

test('old key names are converted', () => {
  const vae = (key: string): unknown => convertVaeKeys(key, []);
  expect(vae('decoder.mid_block.attentions.0.proj_attn.bias')).toEqual({
    key: 'decoder.mid_block.attentions.0.to_out.0.bias',
  });
  expect(vae('encoder.mid_block.attentions.0.query.weight')).toEqual({
    key: 'encoder.mid_block.attentions.0.to_q.weight',
  });
  expect(vae('encoder.conv_in.weight')).toEqual({ key: 'encoder.conv_in.weight' });
  const text = (key: string): unknown => convertTextEncoderKeys(key, []);
  expect(text('text_model.embeddings.position_ids')).toBeUndefined();
  expect(text('encoder.layers.0.mlp.fc1.bias')).toEqual({
    key: 'text_model.encoder.layers.0.mlp.fc1.bias',
  });
});

test('errors of a forward name the rule and both shapes', () => {
  const unet = UNet2DConditionModel.fromConfig(sd15UNet);
  const sample = Tensor.abstract('float32', [1, 9, 8, 8]);
  const text = Tensor.abstract('float32', [1, 77, 768]);
  expect(() => unet.call(sample, 1, { encoderHiddenStates: text })).toThrow(
    '[unet] sample must be [n,4,h,w], got [1,9,8,8]',
  );
  expect(() => unet.call(Tensor.abstract('float32', [2, 4, 8, 8]), 1, { encoderHiddenStates: text })).toThrow(
    'encoder hidden states must be [2,tokens,768], got [1,77,768]',
  );
});
