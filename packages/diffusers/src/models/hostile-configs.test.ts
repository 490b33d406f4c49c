// Configs that nobody would write: each is built, or refused by one short error that names the file and a key. None
// takes the process, and none reaches a prototype.

import fc from 'fast-check';
import { FormatError } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { expect, test } from 'vitest';
import { parseJsonObject } from '../loading/json.ts';
import { memoryFiles } from '../loading/files.ts';
import { clipG, sd15UNet, sdxlUNet, ssd1bUNet, vae } from '../node/full-size.ts';
import { loadModel } from '../components/load.ts';
import { AutoencoderKL } from './autoencoder-kl.ts';
import { CLIPTextModel, CLIPTextModelWithProjection } from './clip-text.ts';
import type { ConfigRecord } from './config.ts';
import { UNet2DConditionModel } from './unet2d-condition.ts';

const runs = fuzzRuns(2000);

const unet = (config: ConfigRecord): unknown => UNet2DConditionModel.fromConfig(config, 'unet/config.json');
const decoder = (config: ConfigRecord): unknown => AutoencoderKL.fromConfig(config, 'vae/config.json');
const text = (config: ConfigRecord): unknown => CLIPTextModel.fromConfig(config, 'text/config.json');
const projecting = (config: ConfigRecord): unknown =>
  CLIPTextModelWithProjection.fromConfig(config, 'text/config.json');

type Build = (config: ConfigRecord) => unknown;

test.each<[string, Build, object]>([
  ['block_out_channels', unet, { block_out_channels: Array(100).fill(32) }],
  ['block_out_channels', unet, { block_out_channels: [1e9, 1e9, 1e9, 1e9] }],
  ['block_out_channels', unet, { block_out_channels: [320, 640, 1280, 1280.5] }],
  ['block_out_channels', unet, { block_out_channels: [] }],
  ['block_out_channels', unet, { block_out_channels: '320' }],
  ['layers_per_block', unet, { layers_per_block: 2 ** 31 }],
  ['layers_per_block', unet, { layers_per_block: [2, 2, 2] }],
  ['layers_per_block', unet, { layers_per_block: true }],
  ['transformer_layers_per_block', unet, { transformer_layers_per_block: 1e8 }],
  ['transformer_layers_per_block', unet, { transformer_layers_per_block: [1, 1, 1, -1] }],
  ['transformer_layers_per_block', unet, { transformer_layers_per_block: 256, layers_per_block: 64 }],
  ['cross_attention_dim', unet, { cross_attention_dim: 2 ** 53 }],
  ['attention_head_dim', unet, { attention_head_dim: 0 }],
  ['norm_num_groups', unet, { norm_num_groups: 0 }],
  ['norm_eps', unet, { norm_eps: -1 }],
  ['norm_eps', unet, { norm_eps: NaN }],
  ['mid_block_scale_factor', unet, { mid_block_scale_factor: 0 }],
  ['in_channels', unet, { in_channels: '4' }],
  ['out_channels', unet, { out_channels: 1e12 }],
  ['conv_in_kernel', unet, { conv_in_kernel: 1e5 + 1 }],
  ['time_cond_proj_dim', unet, { time_cond_proj_dim: 1e9 }],
  ['time_cond_proj_dim', unet, { time_cond_proj_dim: '256' }],
  ['num_class_embeds', unet, { num_class_embeds: 2 ** 40 }],
  ['sample_size', unet, { sample_size: [16] }],
  ['sample_size', unet, { sample_size: [16, 16, 16] }],
  ['sample_size', unet, { sample_size: '16' }],
  ['sample_size', unet, { sample_size: true }],
  ['sample_size', unet, { sample_size: 0 }],
  ['sample_size', unet, { sample_size: 64.5 }],
  ['sample_size', decoder, { sample_size: [16] }],
  ['sample_size', decoder, { sample_size: '16' }],
  ['sample_size', decoder, { sample_size: true }],
  ['latents_mean', decoder, { latents_mean: [0, 0, 0], latents_std: [1, 1, 1, 1] }],
  ['latents_mean', decoder, { latents_mean: 0.5 }],
  ['latents_mean', decoder, { latents_mean: [0, 0, 0, '0'] }],
  ['latents_mean', decoder, { latents_mean: [0, 0, 0, Infinity] }],
  ['latents_std', decoder, { latents_std: [1, 1, 1, 1, 1] }],
  ['latents_std', decoder, { latents_std: [1, 1, 1, 0] }],
  ['scaling_factor', decoder, { scaling_factor: 0 }],
  ['scaling_factor', decoder, { scaling_factor: '0.18' }],
  ['shift_factor', decoder, { shift_factor: 'x' }],
  ['force_upcast', decoder, { force_upcast: 'yes' }],
  ['latent_channels', decoder, { latent_channels: 1e9 }],
  ['layers_per_block', decoder, { layers_per_block: 2 ** 31 }],
  ['num_hidden_layers', text, { num_hidden_layers: 1e8 }],
  ['hidden_size', text, { hidden_size: 2 ** 40, num_attention_heads: 1 }],
  ['vocab_size', text, { vocab_size: 1e12 }],
  ['max_position_embeddings', text, { max_position_embeddings: 1e9 }],
  ['num_attention_heads', text, { num_attention_heads: 0 }],
  ['hidden_act', text, { hidden_act: 'constructor' }],
  ['hidden_act', text, { hidden_act: '__proto__' }],
  ['eos_token_id', text, { eos_token_id: null }],
  ['projection_dim', projecting, { projection_dim: null }],
  ['block_out_channels and the other widths', unet, { block_out_channels: [65536, 65536, 65536, 65536] }],
  [
    'hidden_size and the other widths',
    text,
    { hidden_size: 65536, num_attention_heads: 1, num_hidden_layers: 512 },
  ],
])('%s: %o %j', (key, build, changes) => {
  const base = build === unet ? sd15UNet : build === decoder ? vae : clipG;
  expect(() => build(base)).not.toThrow();
  const message = refusal(build, { ...base, ...changes });
  expect(message).toMatch(/^(unet|vae|text)\/config\.json: /);
  expect(message).toContain(key.includes(' ') ? key : `'${key}' `);
  expect(message!.length).toBeLessThan(600);
});

/** The message of a FormatError; undefined when the model is built; any other error comes through. */
function refusal(build: Build, config: ConfigRecord): string | undefined {
  try {
    build(config);
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return error.message;
  }
}

const number = fc.oneof(
  fc.constantFrom(
    0,
    -1,
    1,
    2,
    3,
    7,
    64,
    65_536,
    65_537,
    1e8,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    1e300,
    -0,
    0.5,
    1e-300,
  ),
  fc.constantFrom(NaN, Infinity, -Infinity),
  fc.integer({ min: -10, max: 100 }),
);
const word = fc.oneof(
  fc.constantFrom(
    'constructor',
    '__proto__',
    'toString',
    'silu',
    'gelu',
    'DownBlock2D',
    'CrossAttnUpBlock2D',
  ),
  fc.constantFrom('UNetMidBlock2D', 'text_time', 'text', 'projection', 'x'.repeat(1000), ''),
);
const value = fc.letrec<{ any: unknown; list: unknown[] }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    number,
    word,
    fc.boolean(),
    fc.constant(null),
    tie('list'),
    fc.constantFrom({}, { length: 4 }, { toString: 1, valueOf: 2 }),
    number.map((v) => Array<number>(4).fill(v)),
    fc.constantFrom(Array(5000).fill('x'.repeat(50)), Array(17).fill(32)),
  ),
  list: fc.array(tie('any'), { maxLength: 5 }),
})).any;

const keysOf = (build: Build, base: ConfigRecord): string[] => {
  const read = new Set<string>();
  // Every key that a reader asks for, whatever the config holds.
  build(
    new Proxy(base, {
      getOwnPropertyDescriptor(target, key) {
        if (typeof key === 'string') read.add(key);
        return Reflect.getOwnPropertyDescriptor(target, key);
      },
    }),
  );
  return [...read, '__proto__', 'constructor', 'unknown'];
};

test.each<[string, Build, ConfigRecord]>([
  ['SD 1.5 UNet', unet, sd15UNet],
  ['SDXL UNet', unet, sdxlUNet],
  ['SSD-1B UNet', unet, ssd1bUNet],
  ['VAE', decoder, vae],
  ['text encoder', text, clipG],
  ['text encoder with projection', projecting, clipG],
])('fuzz: a config of a %s with changed keys is built or refused by name', (_, build, base) => {
  const keys = keysOf(build, base);
  expect(keys.length).toBeGreaterThan(12);
  const change = fc.tuple(fc.constantFrom(...keys), value);
  const before = Object.getOwnPropertyNames(Object.prototype);
  let built = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      // As from a file: '__proto__' is a key like others there.
      const config = Object.fromEntries([...Object.entries(base), ...changes]);
      const message = refusal(build, config);
      if (message === undefined) built++;
      else {
        expect(message).toMatch(/^(unet|vae|text)\/config\.json: '?\w+/);
        expect(keys.some((key) => message.includes(key))).toBe(true);
        expect(message.length).toBeLessThan(600);
      }
    }),
    runs,
  );
  expect(built).toBeGreaterThan(0);
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
});

test('a key __proto__ in a file sets no prototype', () => {
  const config = parseJsonObject('{"__proto__": {"in_channels": 9, "sample_size": "x"}}', 'unet/config.json');
  expect(() => unet(config)).not.toThrow();
  expect(UNet2DConditionModel.fromConfig(config).config['in_channels']).toBeUndefined();
});

test.each(['constructor', '__proto__', 'toString', 'hasOwnProperty', 'x'.repeat(100_000)])(
  'a component of class %.20s is an unknown one',
  async (name) => {
    const error: unknown = await loadModel(memoryFiles({}, 'm'), 'unet', name, {} as never).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toContain(`m: 'unet' is a ${name.slice(0, 12)}`);
    expect((error as Error).message.length).toBeLessThan(600);
  },
);
