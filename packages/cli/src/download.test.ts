// A model from the hub, as a user meets it: the command downloads it from a server on this machine, tells how far it is,
// draws, and the next time draws from the cache.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Image } from '@darkroom/diffusers';
import { emoji, fakeHub, root, temporaryFolder } from '@darkroom/diffusers/testing';
import type { FakeHub } from '@darkroom/diffusers/testing';

const main = join(root, 'packages/cli/dist/main.js');
let folder: ReturnType<typeof temporaryFolder>;
let hub: FakeHub;
beforeEach(async () => {
  folder = temporaryFolder();
  const paths = readdirSync(emoji, { recursive: true, encoding: 'utf8' });
  const files = paths.filter((path) => /\.(json|txt|safetensors)$/.test(path) && path !== 'package.json');
  hub = await fakeHub(Object.fromEntries(files.map((path) => [path, readFileSync(join(emoji, path))])));
});
afterEach(async () => {
  await hub.close();
  folder.remove();
});

/** Runs `generate` with the hub's model; `onText` sees standard error as it grows. */
function generate(
  variables: Readonly<Record<string, string>>,
  args: readonly string[],
  onText: (text: string) => void = () => {},
): Promise<{ status: number | null; err: string }> {
  const words = ['generate', 'a fox', '--model', 'org/tiny', '-d', 'cpu', '-n', '2', '-s', '1', ...args];
  const env = { ...process.env, HF_HOME: join(folder.path, 'home'), HF_ENDPOINT: hub.endpoint, ...variables };
  const child = spawn(process.execPath, [main, ...words], { cwd: folder.path, env });
  let err = '';
  child.stderr.on('data', (data: Buffer) => onText((err += data.toString())));
  return new Promise((done) => child.on('close', (status) => done({ status, err })));
}

test('a download tells bytes, rate and what remains, in lines where there is no terminal', async () => {
  const line = /^downloading unet\/\S+: [\d.]+ [kM]B of 8\.8 MB, [\d.]+ [kM]?B\/s, \d+ (s|min) left$/m;
  let isTold = false;
  hub.change = (answer, { kind, path }) => {
    if (kind === 'store' && path.startsWith('/unet/')) answer.drip = { bytes: 5000, ends: () => isTold };
  };
  const first = await generate({}, ['-o', 'first.png'], (text) => (isTold = line.test(text)));
  expect(first.status, first.err).toBe(0);
  expect(first.err).toMatch(line);
  // No bar, no line drawn anew.
  expect(first.err).not.toMatch(/[\r\x1b]|\[=/);
  const asked = hub.asked.length;
  const again = await generate({ HF_HUB_OFFLINE: '1' }, ['-o', 'again.png']);
  expect([again.status, hub.asked.length]).toEqual([0, asked]);
  expect(again.err).not.toContain('downloading');
  const pixels = async (name: string): Promise<Uint8Array> =>
    Uint8Array.from((await Image.load(join(folder.path, name))).data);
  expect(await pixels('again.png')).toEqual(await pixels('first.png'));
});

test('--quiet tells nothing of it, and a broken download is one message', async () => {
  const quiet = await generate({}, ['-o', 'fox.png', '--quiet']);
  expect(quiet).toEqual({ status: 0, err: 'seed 1\n' });
  hub.change = (answer, { kind }) => {
    if (kind === 'store') answer.status = 404;
  };
  const broken = await generate({ HF_HOME: join(folder.path, 'other') }, ['-o', 'none.png']);
  expect(broken.status).toBe(1);
  expect(broken.err).toMatch(/^\S*.*org\/tiny\/\S+\.safetensors: is not on the hub \(status 404\)$/m);
  expect(readdirSync(folder.path)).not.toContain('none.png');
});
