// Downloads by several processes, and by processes that are killed at any moment: the cache is right afterwards. The
// processes run the built package, as a user does.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { root } from '../../node/testing.ts';
import { fakeHub, gitHash, sha256 } from './fake-hub.ts';
import type { FakeAnswer, FakeHub } from './fake-hub.ts';

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251));
const config = Buffer.from('{"_class_name": "X"}');
const files = { 'model_index.json': config, 'unet/w.safetensors': weights };
const built = pathToFileURL(join(root, 'packages/diffusers/dist/loading/hub.js')).href;

let hub: FakeHub;
let cacheDir: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'darkroom-processes-'));
  hub = await fakeHub(files);
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await hub.close();
  await rm(cacheDir, { recursive: true, force: true });
});

/** A process that loads both files; resolves to the hash of the large one, or to what it said on its way out. */
function start(cache = cacheDir): { child: ChildProcess; result: Promise<string> } {
  const script = `
    import { createHash } from 'node:crypto';
    import { openModel } from ${JSON.stringify(built)};
    const model = await openModel('org/tiny', { endpoint: ${JSON.stringify(hub.endpoint)}, cacheDir: ${JSON.stringify(cache)} });
    await model.readText('model_index.json');
    const source = await model.source('unet/w.safetensors');
    console.log(createHash('sha256').update(await source.read(0, source.bytes)).digest('hex'));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, HF_TOKEN: '', HF_TOKEN_PATH: join(cache, 'none') },
  });
  children.push(child);
  let said = '';
  child.stdout!.on('data', (data) => (said += data));
  child.stderr!.on('data', (data) => (said += data));
  return { child, result: new Promise((done) => child.once('close', () => done(said.trim()))) };
}

const blobs = (cache = cacheDir): string => join(cache, 'models--org--tiny', 'blobs');
/** Blobs are those of the model and nothing else, byte by byte; the snapshot leads to them. */
async function expectWhole(cache = cacheDir): Promise<void> {
  expect((await readdir(blobs(cache))).sort()).toEqual([gitHash(config), sha256(weights)].sort());
  expect(sha256(await readFile(join(blobs(cache), sha256(weights))))).toBe(sha256(weights));
  const snapshot = join(cache, 'models--org--tiny', 'snapshots', 'c'.repeat(40));
  expect(sha256(await readFile(join(snapshot, 'unet/w.safetensors')))).toBe(sha256(weights));
  expect(await readFile(join(snapshot, 'model_index.json'), 'utf8')).toBe(config.toString());
}
const stored = (): (string | undefined)[] => hub.asked.filter((a) => a.kind === 'store').map((a) => a.range);
/** Resolves when a part holds so many bytes. */
async function partHolds(bytes: number, cache = cacheDir): Promise<string> {
  for (;;) {
    for (const name of await readdir(blobs(cache)).catch(() => []))
      if (name.startsWith(sha256(weights)) && name.endsWith('.incomplete')) {
        const path = join(blobs(cache), name);
        if ((await stat(path).catch(() => undefined))?.size === bytes) return path;
      }
    await new Promise((done) => setTimeout(done, 10));
  }
}
const stallAt = (answer: FakeAnswer, at: number): void =>
  void Object.assign(answer, { stall: true, cutAt: at });

test('several processes at once download a file once', async () => {
  let go = (): void => {};
  const hold = new Promise<void>((done) => (go = done));
  hub.change = (answer, { kind }) => {
    if (kind === 'store') answer.hold = hold;
  };
  const all = [1, 2, 3].map(() => start());
  await partHolds(0);
  while (hub.asked.filter((a) => a.kind === 'head').length < 6)
    await new Promise((done) => setTimeout(done, 10));
  go();
  expect(await Promise.all(all.map((one) => one.result))).toEqual(all.map(() => sha256(weights)));
  expect(stored()).toEqual([undefined]);
  await expectWhole();
});

test.each([[0], [1], [65_536], [299_999]])('killed at byte %i, the next one goes on there', async (at) => {
  hub.change = (answer, { kind }) => {
    if (kind === 'store') stallAt(answer, at);
  };
  const first = start();
  const part = await partHolds(at);
  while (stored().length < 1) await new Promise((done) => setTimeout(done, 10));
  first.child.kill('SIGKILL');
  await first.result;
  if (at > 0) await utimes(part, 1000, 1000); // time passes; the first is waited for
  hub.change = () => {};
  expect(await start().result).toBe(sha256(weights));
  expect(stored()).toEqual([undefined, at === 0 ? undefined : `bytes=${at}-`]);
  await expectWhole();
});

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'ended by %s, the part is free at once',
  async (signal) => {
    hub.change = (answer, { kind }) => {
      if (kind === 'store') stallAt(answer, 1000);
    };
    const first = start();
    const part = await partHolds(1000);
    first.child.kill(signal);
    await first.result;
    expect((await stat(part)).mtimeMs).toBe(0);
    hub.change = () => {};
    expect(await start().result).toBe(sha256(weights));
    expect(stored()).toEqual([undefined, 'bytes=1000-']);
    await expectWhole();
  },
);

test('killed at moments of chance, again and again', async () => {
  for (let round = 0; round < 6; round++) {
    hub.change = (answer, { kind }) => {
      if (kind === 'store') stallAt(answer, (round * 99_991) % weights.length);
    };
    const one = start();
    await new Promise((done) => setTimeout(done, 150 + 80 * round));
    one.child.kill('SIGKILL');
    await one.result;
    // Time passes.
    for (const name of await readdir(blobs()).catch(() => [])) await utimes(join(blobs(), name), 1000, 1000);
  }
  hub.change = () => {};
  expect(await start().result).toBe(sha256(weights));
  await expectWhole();
});

describe('a process that sleeps for so long that it is taken for dead', () => {
  test('wakes up beside the one that took over, and both are right', async () => {
    let go = (): void => {};
    const hold = new Promise<void>((done) => (go = done));
    let first = true;
    hub.change = (answer, { kind }) => {
      if (kind !== 'store') return;
      if (first) answer.hold = hold;
      first = false;
    };
    const sleeper = start();
    const part = await partHolds(0);
    while (stored().length < 1) await new Promise((done) => setTimeout(done, 10));
    sleeper.child.kill('SIGSTOP');
    await utimes(part, 1000, 1000);
    expect(await start().result).toBe(sha256(weights));
    sleeper.child.kill('SIGCONT');
    go();
    expect(await sleeper.result).toBe(sha256(weights));
    await expectWhole();
  });
});

test('a blob of another size than the hub says is not believed', async () => {
  expect(await start().result).toBe(sha256(weights));
  const blob = join(blobs(), sha256(weights));
  for (const wrong of [weights.subarray(0, 1000), Buffer.concat([weights, weights]), Buffer.alloc(0)]) {
    await rm(join(cacheDir, 'models--org--tiny', 'snapshots'), { recursive: true, force: true });
    await writeFile(blob, wrong);
    expect(await start().result).toBe(sha256(weights));
    await expectWhole();
    await writeFile(blob, wrong); // the link of the snapshot is there
    expect(await start().result).toBe(sha256(weights));
    await expectWhole();
  }
});
