import { log } from '@darkroom/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { memoryFiles } from './files.ts';
import { weightFiles } from './weights-files.ts';

const stem = 'diffusion_pytorch_model';
const find = (names: Record<string, string>, variant?: string): Promise<string[]> => {
  const files = Object.fromEntries(Object.entries(names).map(([name, text]) => [`unet/${name}`, text]));
  return weightFiles(memoryFiles(files, 'm'), 'unet', stem, variant);
};
const index = (...shards: string[]): string =>
  JSON.stringify({ weight_map: Object.fromEntries(shards.map((s, i) => [`k${i}`, s])) });

let warnings: string[];
const { warn } = log;
beforeEach(() => {
  warnings = [];
  log.warn = (message) => warnings.push(message);
});
afterEach(() => {
  expect(warnings).toEqual([]);
  log.warn = warn;
});

test('one plain file', async () => {
  expect(
    await find({ [`${stem}.safetensors`]: '', [`${stem}.fp16.safetensors`]: '', [`${stem}.bin`]: '' }),
  ).toEqual([`unet/${stem}.safetensors`]);
});

test('shards by their index, each once', async () => {
  const [a, b] = [`${stem}-00001-of-00002.safetensors`, `${stem}-00002-of-00002.safetensors`];
  expect(await find({ [`${stem}.safetensors.index.json`]: index(b, a, b), [a]: '', [b]: '' })).toEqual([
    `unet/${a}`,
    `unet/${b}`,
  ]);
});

test('a variant, whole or sharded', async () => {
  const plain = { [`${stem}.safetensors`]: '' };
  expect(await find({ ...plain, [`${stem}.fp16.safetensors`]: '' }, 'fp16')).toEqual([
    `unet/${stem}.fp16.safetensors`,
  ]);
  const shard = `${stem}.fp16-00001-of-00001.safetensors`;
  expect(
    await find({ ...plain, [`${stem}.safetensors.index.fp16.json`]: index(shard), [shard]: '' }, 'fp16'),
  ).toEqual([`unet/${shard}`]);
});

test('without any file of the variant the plain one is used, with a warning', async () => {
  expect(await find({ [`${stem}.safetensors`]: '' }, 'fp16')).toEqual([`unet/${stem}.safetensors`]);
  expect(warnings).toEqual([`m/unet: has no weights of variant 'fp16', ${stem}.safetensors is used`]);
  warnings = [];
});

test('a variant that exists only as a pickle is not replaced by the plain file', async () => {
  await expect(find({ [`${stem}.safetensors`]: '', [`${stem}.fp16.bin`]: '' }, 'fp16')).rejects.toThrow(
    'pickles are never loaded',
  );
});

test.each(['bin', 'ckpt', 'pt', 'pkl'])('only .%s is refused', async (extension) => {
  await expect(find({ [`${stem}.${extension}`]: '' })).rejects.toThrow(
    `m/unet: no weights found: looked for ${stem}.safetensors, ${stem}.safetensors.index.json; there is only ${stem}.${extension}, and pickles are never loaded`,
  );
});

test.each<[string[], string, string]>([
  [[`${stem}.fp16.safetensors`], "variant 'fp16'", 'fp16'],
  [[`${stem}.fp16.safetensors`, `${stem}.fp16.bin`, `${stem}.bin`], "variant 'fp16'", 'fp16'],
  [[`${stem}.bf16.safetensors`, `${stem}.fp16.safetensors`], "variant 'bf16' and variant 'fp16'", 'bf16'],
  [
    [`${stem}.fp16-00001-of-00002.safetensors`, `${stem}.safetensors.index.fp16.json`],
    "variant 'fp16'",
    'fp16',
  ],
  [[`${stem}.fp16.safetensors.index.json`], "variant 'fp16'", 'fp16'],
  [[`${stem}.non_ema.safetensors`], "variant 'non_ema'", 'non_ema'],
])('only %j: the variant is named', async (names, variants, first) => {
  const files = Object.fromEntries(names.map((name) => [name, index('x.safetensors')]));
  await expect(find(files)).rejects.toThrow(
    `m/unet: has weights of ${variants} only: ask for variant: '${first}' (--variant ${first})`,
  );
  await expect(find(files, 'fp32')).rejects.toThrow(`variant: '${first}'`);
});

test('a folder that cannot be listed names its variants too', async () => {
  const { list: _, ...files } = memoryFiles({ [`unet/${stem}.fp16.safetensors`]: '' }, 'm');
  await expect(weightFiles(files, 'unet', stem)).rejects.toThrow("ask for variant: 'fp16'");
});

test('the error for an empty folder lists the names searched', async () => {
  await expect(find({})).rejects.toThrow(
    `m/unet: no weights found: looked for ${stem}.safetensors, ${stem}.safetensors.index.json`,
  );
});

test('a bad index is refused', async () => {
  const name = `${stem}.safetensors.index.json`;
  await expect(find({ [name]: '{}' })).rejects.toThrow(
    `m/unet/${name}: weight_map must be an object, found undefined`,
  );
  await expect(find({ [name]: index('../x.safetensors') })).rejects.toThrow(
    'must name a .safetensors file beside it',
  );
  await expect(find({ [name]: index('x.bin') })).rejects.toThrow('must name a .safetensors file beside it');
  await expect(
    find({ [name]: index('x.safetensors', 'y.safetensors'), 'x.safetensors': '' }),
  ).rejects.toThrow('1 of 2 shards are missing: y.safetensors');
  await expect(find({ [`${stem}.safetensors`]: '' }, '../x')).rejects.toThrow(
    "variant: must be a word like 'fp16', got '../x'",
  );
});
