// @darkroom/diffusers/testing: helpers of tests and of the conformance suite: the embedded model's folder, copies of it
// to damage, small models, weights derived from names, a hub on this machine, and this package's readers of files.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keep, tensor } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';
import { CLIPTextModelWithProjection } from '../models/clip-text.ts';
import type { AddedCond, Conditioning } from '../models/conditioning.ts';
import { UNet2DConditionModel } from '../models/unet2d-condition.ts';
import { StableDiffusionPipeline } from '../pipelines/stable-diffusion.ts';
import { StableDiffusionXLPipeline } from '../pipelines/stable-diffusion-xl.ts';
import { TorchCpuGenerator } from '../random/torch-cpu-generator.ts';

export { readJson } from '../loading/json.ts';
export { lookUp } from '../loading/look-up.ts';
export { fakeHub } from '../loading/node/fake-hub.ts';
export type { Asked, FakeAnswer, FakeHub, Kind } from '../loading/node/fake-hub.ts';
export { localFiles } from '../loading/node/local-files.ts';
export type { ConfigRecord } from '../models/config.ts';
export { noiseTables } from '../schedulers/betas.ts';
export { derivedInput, derivedWeights } from './derived.ts';

/** Root folder of the repository, with a trailing slash. */
export const root: string = fileURLToPath(new URL('../../../../', import.meta.url));
/** Folder of the embedded model. */
export const emoji: string = join(root, 'models/emoji-64');

/** A fresh folder, removed by the returned function. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'darkroom-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A copy of the embedded model that a test may damage. */
export function modelCopy(folder: string): string {
  const path = join(folder, 'model');
  cpSync(emoji, path, { recursive: true });
  return path;
}

/** Rewrites a JSON file of a model copy. */
export function editJson(path: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
}

/** A config of the embedded model with some keys changed. */
export function emojiConfig(folder: string, changes: object = {}): Record<string, unknown> {
  const text = readFileSync(join(emoji, folder, 'config.json'), 'utf8');
  return { ...(JSON.parse(text) as Record<string, unknown>), ...changes };
}

/** Gives a model small random weights, the same for one seed. */
export function randomWeights<M extends AnyModule>(model: M, device: Device, seed = 1): M {
  const generator = new TorchCpuGenerator(seed);
  for (const [, module] of model.namedModules()) {
    for (const [key, { shape, elements }] of [...module.ownParameters()]) {
      const scale = 0.5 / Math.sqrt(elements / (shape[0] ?? 1));
      const values = generator.randn(elements, 'float32').map((v) => (shape.length === 1 ? 0.5 : v * scale));
      module.setParameter(key, keep(tensor(values, { shape, device })));
    }
  }
  return model;
}

/** A small SDXL with random weights, and the embedded model's tokenizer and VAE. */
export async function tinyXL(device: Device): Promise<StableDiffusionXLPipeline> {
  const { vae, tokenizer, textEncoder, unet, scheduler } = (
    await StableDiffusionPipeline.fromPretrained(emoji, { device })
  ).components;
  unet.dispose();
  const second = CLIPTextModelWithProjection.fromConfig(
    emojiConfig('text_encoder', { hidden_size: 64, num_attention_heads: 2, projection_dim: 32 }),
  );
  const unetConfig = emojiConfig('unet', {
    block_out_channels: [16, 16, 32],
    cross_attention_dim: 192,
    addition_embed_type: 'text_time',
    addition_time_embed_dim: 8,
    projection_class_embeddings_input_dim: 32 + 6 * 8,
  });
  return new StableDiffusionXLPipeline({
    vae,
    tokenizer,
    textEncoder,
    scheduler,
    tokenizer2: tokenizer,
    textEncoder2: randomWeights(second, device, 2),
    unet: randomWeights(UNet2DConditionModel.fromConfig(unetConfig), device, 3),
  });
}

/** Records the arguments of a UNet's calls, one entry for each; `end` stops recording and frees the tensors. */
export function watchUNet(unet: unknown): {
  calls: { sample: number[]; shape: readonly number[]; addedCond?: AddedCond }[];
  end(): void;
} {
  const module = unet as AnyModule;
  const calls: { sample: number[]; shape: readonly number[]; addedCond?: AddedCond }[] = [];
  module.addHook({
    name: 'watch',
    preForward(_, args) {
      const [sample, , { addedCond: added }] = args as [Tensor, number, Conditioning];
      calls.push({
        sample: [...sample.dataSync()],
        shape: sample.shape,
        ...(added && {
          addedCond: { textEmbeds: keep(added.textEmbeds.alias()), timeIds: keep(added.timeIds.alias()) },
        }),
      });
    },
  });
  return {
    calls,
    end: () => {
      module.removeHook('watch');
      for (const { addedCond } of calls) {
        addedCond?.textEmbeds.dispose();
        addedCond?.timeIds.dispose();
      }
    },
  };
}
