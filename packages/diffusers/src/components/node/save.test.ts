// savePretrained over a model that is there: the old one or the new one, never a mix, whatever fails and when.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cpu } from '@darkroom/backend-cpu';
import type { Device } from '@darkroom/core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { emoji, randomWeights, temporaryFolder } from '../../node/testing.ts';
import { StableDiffusionPipeline } from '../../pipelines/stable-diffusion.ts';

let device: Device;
let folder: ReturnType<typeof temporaryFolder>;
beforeAll(async () => {
  device = await cpu();
});
afterAll(() => device[Symbol.dispose]());
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

/** Every file with its hash. */
function contents(path: string): Record<string, string> {
  const names = (readdirSync(path, { recursive: true }) as string[]).sort();
  const files = names.filter((name) => statSync(join(path, name)).isFile());
  const hash = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(path, name)))
      .digest('hex');
  return Object.fromEntries(files.map((name) => [name, hash(name)]));
}

const load = (seed: number): Promise<StableDiffusionPipeline> =>
  StableDiffusionPipeline.fromPretrained(emoji, { device }).then((pipe) => {
    for (const model of [pipe.unet, pipe.vae]) randomWeights(model as never, device, seed);
    return pipe;
  });

test('a component that cannot be read leaves the old model, byte by byte', async () => {
  const path = join(folder.path, 'model');
  const [old, next] = [await load(1), await load(2)];
  await old.savePretrained(path);
  const before = contents(path);
  const weight = next.vae.stateDict!().values().next().value!;
  weight.dispose();
  await expect(next.savePretrained(path)).rejects.toThrow('dispose');
  expect(contents(path)).toEqual(before);
  await expect(next.savePretrained(join(folder.path, 'fresh'))).rejects.toThrow('dispose');
  expect(existsSync(join(folder.path, 'fresh'))).toBe(false);
});

test('a path that cannot be written is refused before anything changes', async () => {
  const path = join(folder.path, 'model');
  mkdirSync(join(path, 'model_index.json'), { recursive: true });
  const pipe = await load(1);
  await expect(pipe.savePretrained(path)).rejects.toThrow(
    `${join(path, 'model_index.json')}: cannot be written, it is a folder`,
  );
  expect(contents(path)).toEqual({});
});

test('two that save into one folder leave the model of one of them, and what else was there', async () => {
  const [a, b] = [await load(1), await load(2)];
  const whole = await Promise.all(
    [a, b].map(async (pipe, i) => {
      const path = join(folder.path, String(i));
      await pipe.savePretrained(path);
      return contents(path);
    }),
  );
  expect(whole[0]).not.toEqual(whole[1]);
  const path = join(folder.path, 'both');
  mkdirSync(join(path, 'mine'), { recursive: true });
  await Promise.all([a, b, a, b].map((pipe) => pipe.savePretrained(path)));
  expect(whole).toContainEqual(contents(path));
  expect(existsSync(join(path, 'mine'))).toBe(true);
});
