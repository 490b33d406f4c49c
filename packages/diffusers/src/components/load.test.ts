// Loading and saving: damaged, hostile and foreign model folders each give one clear error and leave nothing loaded.

import {
  cpSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { DarkroomError, keep, Linear, log, openSafetensors, tensor, writeSafetensors } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';
import { fileSource, localFiles } from '../loading/node/local-files.ts';
import { editJson, emoji, modelCopy, temporaryFolder } from '../node/testing.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';

let device: Device;
let folder: ReturnType<typeof temporaryFolder>;
let model: string;
beforeAll(async () => {
  device = await cpu({ threads: 1 });
});
afterAll(() => device[Symbol.dispose]());
beforeEach(() => {
  folder = temporaryFolder();
  model = modelCopy(folder.path);
});
afterEach(() => folder.remove());

const load = (options: object = {}): Promise<StableDiffusionPipeline> =>
  StableDiffusionPipeline.fromPretrained(model, { device, ...options });
const unet = (): string => join(model, 'unet/diffusion_pytorch_model.safetensors');

/** Rewrites a weight file with its tensors edited. */
async function editWeights(path: string, edit: (tensors: Map<string, Tensor>) => void): Promise<void> {
  const file = await openSafetensors(await fileSource(path));
  const tensors = new Map<string, Tensor>();
  for (const name of file.entries.keys()) tensors.set(name, keep(await file.load(name, { device })));
  const all = [...tensors.values()];
  edit(tensors);
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(tensors)) chunks.push(chunk);
  writeFileSync(path, Buffer.concat(chunks));
  for (const t of new Set([...all, ...tensors.values()])) t.dispose();
}

test('files of any kind stand in for a folder; where there is no disk, a folder is refused with the way out', async () => {
  const files = localFiles(model, 'elsewhere');
  const pipe = await StableDiffusionPipeline.fromPretrained(files, { device });
  expect(pipe.index['_class_name']).toBe('StableDiffusionPipeline');
  pipe.dispose();
  editJson(join(model, 'model_index.json'), (c) => delete c['vae']);
  await expect(StableDiffusionPipeline.fromPretrained(files, { device })).rejects.toThrow(
    "elsewhere/model_index.json: names no 'vae'",
  );
  vi.stubGlobal('process', undefined);
  const refused = load().finally(() => vi.unstubAllGlobals());
  await expect(refused).rejects.toThrow('an address like https://…, and a page opens no folders');
});

test('layers of every model come from the factory that is given', async () => {
  class OwnLinear extends Linear {}
  const pipe = await load({
    layers: { linear: (...args: ConstructorParameters<typeof Linear>) => new OwnLinear(...args) },
  });
  const linears = Object.values(pipe.modules)
    .flatMap((model) => [...(model as unknown as AnyModule).namedModules()])
    .filter(([, module]) => module instanceof Linear);
  expect(linears.length).toBeGreaterThan(50);
  expect(linears.filter(([, module]) => !(module instanceof OwnLinear))).toEqual([]);
  pipe.dispose();
});

test('a folder as the reference library saves it today: one tokenizer file, text encoder without its first level', async () => {
  const old = await load();
  const want = (await old('a fox', { numInferenceSteps: 2, seed: 1 })).images[0]!.data;
  old.dispose();
  const read = (name: string): string => readFileSync(join(model, 'tokenizer', name), 'utf8');
  const merges = read('merges.txt').trim().split('\n').slice(1);
  const json = {
    added_tokens: [],
    model: {
      type: 'BPE',
      end_of_word_suffix: '</w>',
      vocab: JSON.parse(read('vocab.json')) as object,
      merges,
    },
  };
  writeFileSync(join(model, 'tokenizer/tokenizer.json'), JSON.stringify(json));
  for (const name of ['vocab.json', 'merges.txt', 'special_tokens_map.json'])
    rmSync(join(model, 'tokenizer', name));
  await editWeights(join(model, 'text_encoder/model.safetensors'), (tensors) => {
    for (const [key, t] of [...tensors]) {
      tensors.delete(key);
      tensors.set(key.replace(/^text_model\./, ''), t);
    }
  });
  const pipe = await load();
  expect((await pipe('a fox', { numInferenceSteps: 2, seed: 1 })).images[0]!.data).toEqual(want);
  await pipe.savePretrained(join(folder.path, 'saved'));
  pipe.dispose();
  // Saved for old and new readers: both layouts of the tokenizer, and keys with the level.
  for (const name of ['vocab.json', 'merges.txt', 'tokenizer.json'])
    expect(existsSync(join(folder.path, 'saved/tokenizer', name))).toBe(true);
  const saved = await openSafetensors(
    await fileSource(join(folder.path, 'saved/text_encoder/model.safetensors')),
  );
  expect([...saved.entries.keys()].every((key) => key.startsWith('text_model.'))).toBe(true);
});

describe('a bad folder is refused whole', () => {
  const cases: readonly [string, () => Promise<void> | void, string[]][] = [
    ['truncated weights', () => truncateSync(unet(), 1_000_000), ['unet', 'not a valid safetensors file']],
    [
      'an oversized header length',
      () => {
        const bytes = readFileSync(unet());
        bytes.writeBigUInt64LE(2n ** 40n, 0);
        writeFileSync(unet(), bytes);
      },
      ['unet', 'header says'],
    ],
    [
      'a missing weight',
      () => editWeights(unet(), (t) => void t.delete('conv_in.bias')),
      ['unet', '1 missing: conv_in.bias'],
    ],
    [
      'an extra weight',
      () => editWeights(unet(), (t) => void t.set('stray', keep(tensor([1], { device })))),
      ['1 unexpected: stray'],
    ],
    [
      'a wrong shape',
      () => editWeights(unet(), (t) => void t.set('conv_in.bias', keep(tensor([1, 2], { device })))),
      ['conv_in.bias is [2] but the model has [48]'],
    ],
    [
      'an unknown block type',
      () =>
        editJson(
          join(model, 'unet/config.json'),
          (c) => (c['down_block_types'] = ['DownBlock2D', 'ConvNextBlock', 'DownBlock2D']),
        ),
      ['unet/config.json', "'down_block_types' must hold only DownBlock2D, CrossAttnDownBlock2D"],
    ],
    [
      'heads that do not divide',
      () => editJson(join(model, 'unet/config.json'), (c) => (c['attention_head_dim'] = 5)),
      ["'attention_head_dim' must divide the channels"],
    ],
    [
      'an option of another family',
      () => editJson(join(model, 'unet/config.json'), (c) => (c['dual_cross_attention'] = true)),
      ["'dual_cross_attention' is not supported"],
    ],
    [
      'an unknown class',
      () =>
        editJson(
          join(model, 'model_index.json'),
          (c) => (c['unet'] = ['diffusers', 'FluxTransformer2DModel']),
        ),
      ['FluxTransformer2DModel', 'UNet2DConditionModel'],
    ],
    [
      'an unknown scheduler',
      () =>
        editJson(join(model, 'model_index.json'), (c) => (c['scheduler'] = ['diffusers', 'MagicScheduler'])),
      ['MagicScheduler', 'DDIMScheduler'],
    ],
    [
      'a component path that leaves the folder',
      () => editJson(join(model, 'model_index.json'), (c) => (c['../evil'] = ['diffusers', 'AutoencoderKL'])),
      ["'../evil' is not a plain folder name"],
    ],
    [
      'a missing component',
      () => editJson(join(model, 'model_index.json'), (c) => delete c['vae']),
      ["names no 'vae'"],
    ],
    [
      'a config that is not JSON',
      () => writeFileSync(join(model, 'vae/config.json'), '{"a": 1,'),
      ['vae/config.json'],
    ],
    ['no model_index.json', () => rmSync(join(model, 'model_index.json')), ['model_index.json']],
    ['a broken vocabulary', () => writeFileSync(join(model, 'tokenizer/vocab.json'), '[]'), ['vocab.json']],
  ];
  test.each(cases)('%s', async (_, damage, messages) => {
    await damage();
    const before = device.memory().live;
    const error = await load().then(
      () => undefined,
      (e: unknown) => e as Error,
    );
    expect(error).toBeInstanceOf(DarkroomError);
    for (const message of messages) expect(error!.message).toContain(message);
    expect(device.memory().live).toBe(before);
  });

  test('a pickle is refused, never opened', async () => {
    renameSync(unet(), join(model, 'unet/diffusion_pytorch_model.bin'));
    await expect(load()).rejects.toThrow(/pickle/i);
    expect(device.memory().live).toBe(0);
  });

  test('a component that links out of the folder is refused', async () => {
    const outside = join(folder.path, 'outside');
    cpSync(join(model, 'vae'), outside, { recursive: true });
    rmSync(join(model, 'vae'), { recursive: true });
    symlinkSync(outside, join(model, 'vae'));
    await expect(load()).rejects.toThrow('vae');
    expect(device.memory().live).toBe(0);
  });
});

describe('options', () => {
  test('a variant that exists nowhere falls back to the plain files, with a warning', async () => {
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    const pipe = await load({ variant: 'fp16' });
    expect(warn.mock.calls.join()).toContain('fp16');
    warn.mockRestore();
    pipe.dispose();
  });

  test('dtype converts while loading; without it weights stay as stored', async () => {
    const stored = await load();
    expect([stored.unet.dtype, stored.computeDtype]).toEqual(['float16', 'float32']);
    const half = device.memory().live;
    stored.dispose();
    const wide = await load({ dtype: 'float32' });
    expect(wide.unet.dtype).toBe('float32');
    expect(device.memory().live).toBeGreaterThan(1.9 * half);
    wide.dispose();
    expect(device.memory().live).toBe(0);
  });

  test('a component given is used as it is, and its files are not read', async () => {
    const first = await load();
    rmSync(join(model, 'vae'), { recursive: true });
    const second = await load({ components: { vae: first.vae } });
    expect(second.vae).toBe(first.vae);
    first.dispose();
    second.dispose();
  });

  test('loading reports its progress', async () => {
    const seen = new Map<string, number>();
    const pipe = await load({
      onLoad: (component: string, done: number, total: number) => void seen.set(component, done / total),
    });
    expect(Object.fromEntries(seen)).toEqual({ unet: 1, vae: 1, text_encoder: 1 });
    pipe.dispose();
  });
});

test('a saved pipeline loads again and draws the same picture; its files are those of the Python library', async () => {
  const quick = { numInferenceSteps: 4, guidanceScale: 4, seed: 1 };
  const pipe = await load();
  pipe.setProgressBarConfig({ disable: true });
  pipe.useScheduler('DPMSolverMultistepScheduler'); // its config holds -Infinity
  const saved = join(folder.path, 'saved');
  await pipe.savePretrained(saved);
  const again = await StableDiffusionPipeline.fromPretrained(saved, { device });
  again.setProgressBarConfig({ disable: true });
  expect((await again('a fox', quick)).images[0]!.data).toEqual((await pipe('a fox', quick)).images[0]!.data);
  expect(readFileSync(join(saved, 'scheduler/scheduler_config.json'), 'utf8')).toContain('-Infinity');
  for (const name of [
    'unet/config.json',
    'tokenizer/merges.txt',
    'text_encoder/model.safetensors',
    'vae/diffusion_pytorch_model.safetensors',
  ]) {
    expect(existsSync(join(saved, name)), name).toBe(true);
  }
  const header = (path: string): string[] => {
    const bytes = readFileSync(path);
    const json = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()) as Record<
      string,
      unknown
    >;
    return Object.keys(json).sort();
  };
  expect(header(join(saved, 'unet/diffusion_pytorch_model.safetensors'))).toEqual(
    [...new Set([...header(join(emoji, 'unet/diffusion_pytorch_model.safetensors')), '__metadata__'])].sort(),
  );
  pipe.dispose();
  again.dispose();
});
