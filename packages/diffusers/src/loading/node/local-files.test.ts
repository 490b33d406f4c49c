import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ArgumentError } from '@darkroom/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../node/testing.ts';
import { openModel } from '../hub.ts';
import { localFiles } from './local-files.ts';

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'darkroom-files-'));
  await mkdir(join(base, 'model', 'unet'), { recursive: true });
  await mkdir(join(base, 'outside'));
  await writeFile(join(base, 'model', 'model_index.json'), '{}');
  await writeFile(join(base, 'model', 'unet', 'w.bin'), Uint8Array.of(1, 2, 3, 4, 5));
  await writeFile(join(base, 'outside', 'secret.json'), '{"a": 1}');
  await symlink(join(base, 'outside'), join(base, 'model', 'evil'));
  await symlink(join(base, 'outside', 'secret.json'), join(base, 'model', 'unet', 'config.json'));
});
afterAll(() => rm(base, { recursive: true }));

const files = (): ReturnType<typeof localFiles> => localFiles(join(base, 'model'), 'model');

test('text, existence, listing and bytes by range', async () => {
  expect(await files().readText('model_index.json')).toBe('{}');
  expect([
    await files().exists('unet/w.bin'),
    await files().exists('unet'),
    await files().exists('x/y'),
  ]).toEqual([true, false, false]);
  expect([...(await files().list!('unet'))].sort()).toEqual(['config.json', 'w.bin']);
  expect(await files().list!('')).toContain('model_index.json');
  expect(await files().list!('nothing')).toEqual([]);
  const source = await files().source('unet/w.bin');
  expect([source.name, source.bytes, [...(await source.read(1, 3))]]).toEqual([
    'model/unet/w.bin',
    5,
    [2, 3, 4],
  ]);
  await expect(source.read(3, 3)).rejects.toThrow('model/unet/w.bin: bytes 3+3 are outside its 5');
});

test('a file may be a link, as in the hub cache', async () => {
  expect(await files().readText('unet/config.json')).toBe('{"a": 1}');
});

test.each(['../outside/secret.json', '/etc/passwd', 'unet/../../outside/secret.json', 'C:/x', 'a\\b', ''])(
  '%j is refused',
  async (path) => {
    await expect(files().readText(path)).rejects.toThrow('must stay inside');
    await expect(files().exists(path)).rejects.toThrow('must stay inside');
  },
);

test('a folder that is a link leading out is refused', async () => {
  await expect(files().readText('evil/secret.json')).rejects.toThrow(
    "model: path 'evil/secret.json' leads out of the folder through a link",
  );
  await expect(files().list!('evil')).rejects.toThrow('leads out of the folder');
});

test('a missing file is named', async () => {
  await expect(files().source('vae/w')).rejects.toThrow("model: has no file 'vae/w'");
});

describe('a path that is no folder', () => {
  const before = process.cwd();
  beforeAll(() => process.chdir(base));
  afterAll(() => process.chdir(before));

  test.each([
    ['./nothing', "model: the folder './nothing' does not exist"],
    ['../nothing', "model: the folder '../nothing' does not exist"],
    ['/a/b', "model: the folder '/a/b' does not exist"],
    ['/', undefined],
    ['~/models/sd', "model: the folder '~/models/sd' does not exist (~ is not expanded here)"],
    ['C:\\models', "model: the folder 'C:\\models' does not exist"],
    ['c:/models', "model: the folder 'c:/models' does not exist"],
    ['.\\x', "model: the folder '.\\x' does not exist"],
    ['nothing/', "model: the folder 'nothing/' does not exist"],
    ['model/typo', "model: the folder 'model/typo' does not exist"],
    ['model/unet/typo', "model: the folder 'model/unet/typo' does not exist"],
    ['model/unet/w.bin', "model: 'model/unet/w.bin' is a file; a model is a folder"],
    ['model/model_index.json', "model: 'model/model_index.json' is a file; a model is a folder"],
    ['x.safetensors', "model: the file 'x.safetensors' does not exist; a model is a folder"],
    ['x.ckpt', "model: the file 'x.ckpt' does not exist; a model is a folder"],
  ])('%s is told without asking a hub', async (path, message) => {
    const asked = openModel(path, { endpoint: 'http://127.0.0.1:1' });
    if (message === undefined) return void (await asked);
    const error = await asked.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ArgumentError);
    expect((error as Error).message).toContain(message);
  });

  test('a path that may be a folder or an id names both, if the hub cannot be reached', async () => {
    const asked = openModel('org/name', { endpoint: 'http://127.0.0.1:1', cacheDir: join(base, 'cache') });
    const error = (await asked.catch((e: unknown) => e)) as Error;
    expect(error.message).toMatch(
      /^org\/name: the hub at http:\/\/127\.0\.0\.1:1 cannot be reached \(.*\); a folder 'org\/name' is not here either$/,
    );
  });
});

test('addresses of files on disk open their folder, and a model without an index is refused', async () => {
  const at = (path: string): URL => pathToFileURL(join(root, 'models/emoji-64', path));
  const files = await openModel({ 'model_index.json': at('model_index.json') });
  expect(await files.exists('unet/config.json')).toBe(true);
  await expect(openModel({ 'unet/config.json': new URL('https://example.org/a') })).rejects.toThrow(
    "must name 'model_index.json' with a URL",
  );
});
