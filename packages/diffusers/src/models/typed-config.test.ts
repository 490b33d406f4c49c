// The configs of models as pipelines read them: with the reference's defaults, checked, and read once.

import { expect, test } from 'vitest';
import { unetConfig } from './unet-config.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';
import { vaeConfig } from './vae-config.ts';

test('a UNet without keys has the defaults of the reference', () => {
  expect(unetConfig({ config: {} })).toEqual({
    inChannels: 4,
    outChannels: 4,
    sampleSize: undefined,
    blockOutChannels: undefined,
    encoderWidth: 1280,
    timeCondProjDim: undefined,
    addition: undefined,
    additionTimeEmbedDim: undefined,
    projectionInputDim: undefined,
  });
});

test('keys of every family; one edge or two, one width or a list', () => {
  const xl = {
    in_channels: 9,
    sample_size: [96, 64],
    cross_attention_dim: [2048, 2048],
    addition_embed_type: 'text_time',
    addition_time_embed_dim: 256,
    projection_class_embeddings_input_dim: 2816,
    time_cond_proj_dim: 256,
  };
  expect(unetConfig({ config: xl })).toMatchObject({
    inChannels: 9,
    sampleSize: [96, 64],
    encoderWidth: 2048,
    addition: 'text_time',
    additionTimeEmbedDim: 256,
    projectionInputDim: 2816,
    timeCondProjDim: 256,
  });
  expect(unetConfig({ config: { sample_size: 64, encoder_hid_dim: 4096 } })).toMatchObject({
    sampleSize: [64, 64],
    encoderWidth: 4096,
  });
});

test('a model has the config that it was made from, and a value of a wrong type is named', () => {
  const config = { norm_num_groups: 8, block_out_channels: [32], down_block_types: ['DownBlock2D'], up_block_types: ['UpBlock2D'] }; // prettier-ignore
  const unet = UNet2DConditionModel.fromConfig(config);
  expect(unetConfig(unet)).toEqual(unetConfig({ config }));
  expect(unetConfig(unet).blockOutChannels).toEqual([32]);
  expect(() => unetConfig({ config: { in_channels: '4' } })).toThrow(
    "unet config: 'in_channels' must be an integer",
  );
  expect(() => vaeConfig({ config: { latents_std: [0, 1, 1, 1] } })).toThrow("vae config: 'latents_std' must hold numbers above 0"); // prettier-ignore
});

test('a VAE decodes wide unless its config says otherwise', () => {
  expect(vaeConfig({ config: {} })).toEqual({
    latentChannels: 4,
    latentsMean: undefined,
    latentsStd: undefined,
    shiftFactor: 0,
    forceUpcast: true,
  });
  expect(vaeConfig({ config: { force_upcast: null, shift_factor: 0.1 } })).toMatchObject({
    forceUpcast: false,
    shiftFactor: 0.1,
  });
});
