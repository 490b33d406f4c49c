// Against a small HTTP server on this machine that behaves like the hub.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { FormatError, log } from '@darkroom/core';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openModel } from '../hub.ts';
import type { HubOptions } from '../hub-options.ts';
import { cachePath } from './hub-cache.ts';

const commit = 'c'.repeat(40);
const config = Buffer.from('{"_class_name": "X"}');
const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251));
const sha256 = createHash('sha256').update(weights).digest('hex');
const gitHash = createHash('sha1').update(`blob ${config.length}\0`).update(config).digest('hex');
const secret = 'hf_secretsecret';

interface Hub {
  readonly server: Server;
  readonly requests: { method: string; path: string; range: string | undefined; token: string | undefined }[];
  /** Cuts the connection after this many bytes of a body, as often as `cuts` says. */
  cutAfter: number;
  cuts: number;
  ranges: boolean;
  weightsEtag: string;
  status: number;
}

let hub: Hub;
let cacheDir: string;
let endpoint: string;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url!.split('?')[0]!;
  const { range, authorization } = request.headers;
  hub.requests.push({ method: request.method!, path, range, token: authorization });
  if (hub.status !== 200) return void response.writeHead(hub.status).end();
  if (path.startsWith('/api/models/org/tiny/revision/')) {
    const siblings = ['model_index.json', 'unet/weights.safetensors'].map((rfilename) => ({ rfilename }));
    return void response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ id: 'org/tiny', sha: commit, siblings }));
  }
  const file = path.replace(`/org/tiny/resolve/${commit}/`, '');
  if (file === 'model_index.json') {
    response.writeHead(200, {
      etag: `W/"${gitHash}"`,
      'content-length': config.length,
      'x-repo-commit': commit,
    });
    return void response.end(request.method === 'HEAD' ? undefined : config);
  }
  if (file !== 'unet/weights.safetensors') return void response.writeHead(404).end();
  if (request.method === 'HEAD') {
    response.writeHead(302, {
      'x-linked-etag': `"${hub.weightsEtag}"`,
      'x-linked-size': weights.length,
      'x-repo-commit': commit,
      location: '/store',
    });
    return void response.end();
  }
  const from = hub.ranges ? Number(/bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0) : 0;
  const body = weights.subarray(from);
  const headers = { 'content-length': body.length, etag: '"other"' };
  if (from > 0)
    response.writeHead(206, {
      ...headers,
      'content-range': `bytes ${from}-${weights.length - 1}/${weights.length}`,
    });
  else response.writeHead(200, headers);
  if (hub.cuts > 0) {
    hub.cuts--;
    response.write(body.subarray(0, hub.cutAfter), () => response.destroy());
  } else response.end(body);
}

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'darkroom-hub-'));
  const server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  hub = { server, requests: [], cutAfter: 0, cuts: 0, ranges: true, weightsEtag: sha256, status: 200 };
});
afterEach(async () => {
  hub.server.closeAllConnections();
  await new Promise((done) => hub.server.close(done));
  await rm(cacheDir, { recursive: true, force: true });
});

const open = (options: HubOptions = {}): ReturnType<typeof openModel> =>
  openModel('org/tiny', { endpoint, cacheDir, token: secret, ...options });
const root = (): string => join(cacheDir, 'models--org--tiny');
const bytesOf = async (files: Awaited<ReturnType<typeof openModel>>): Promise<Uint8Array> => {
  const source = await files.source('unet/weights.safetensors');
  return source.read(0, source.bytes);
};
const gets = (): Hub['requests'] =>
  hub.requests.filter((r) => r.method === 'GET' && r.path.includes('/resolve/'));

test('files come once, into the layout other tools share', async () => {
  const progress: number[] = [];
  const files = await open({ onDownload: (_, received) => progress.push(received) });
  expect(files.describe()).toBe('org/tiny');
  expect(await files.readText('model_index.json')).toBe(config.toString());
  expect(Buffer.compare(await bytesOf(files), weights)).toBe(0);
  expect(progress.at(-1)).toBe(weights.length);
  expect(await files.list!('unet')).toEqual(['weights.safetensors']);
  expect([await files.exists('unet/weights.safetensors'), await files.exists('nothing')]).toEqual([
    true,
    false,
  ]);

  expect((await readdir(join(root(), 'blobs'))).sort()).toEqual([gitHash, sha256].sort());
  expect(await readFile(join(root(), 'refs', 'main'), 'utf8')).toBe(commit);
  expect(await readlink(join(root(), 'snapshots', commit, 'unet', 'weights.safetensors'))).toBe(
    join('..', '..', '..', 'blobs', sha256),
  );

  const before = gets().length;
  expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
  expect(gets().length).toBe(before);
  expect(hub.requests.every((r) => r.token === `Bearer ${secret}`)).toBe(true);
});

test('an interrupted download goes on where it stopped', async () => {
  hub.cutAfter = 100_000;
  hub.cuts = 2;
  expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
  const ranges = gets().map((r) => r.range);
  expect(ranges[0]).toBeUndefined();
  expect(ranges.slice(1).every((r) => /^bytes=[1-9]\d*-$/.test(r ?? ''))).toBe(true);
  expect(ranges.length).toBe(3);
});

test('a download that an earlier process left goes on where it stopped', async () => {
  await mkdir(join(root(), 'blobs'), { recursive: true });
  await writeFile(join(root(), 'blobs', `${sha256}.incomplete`), weights.subarray(0, 1234));
  expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
  expect(gets().map((r) => r.range)).toEqual(['bytes=1234-']);
  expect(await readdir(join(root(), 'blobs'))).toEqual([sha256]);
});

test('a server without ranges sends the whole file again', async () => {
  hub.ranges = false;
  hub.cutAfter = 100_000;
  hub.cuts = 1;
  expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
});

test('when the connection keeps failing the error says how far it came, and the part stays', async () => {
  hub.cutAfter = 0;
  hub.cuts = 100;
  await mkdir(join(root(), 'blobs'), { recursive: true });
  await writeFile(join(root(), 'blobs', `${sha256}.incomplete`), weights.subarray(0, 50));
  await expect(open().then(bytesOf)).rejects.toThrow(
    /org\/tiny\/unet\/weights\.safetensors: download stopped at 50 of 300000 bytes .* run again to resume/,
  );
  expect((await stat(join(root(), 'blobs', `${sha256}.incomplete`))).size).toBe(50);
});

test('a wrong checksum is refused and leaves no file', async () => {
  hub.weightsEtag = 'a'.repeat(64);
  await expect(open().then(bytesOf)).rejects.toThrow(
    `org/tiny/unet/weights.safetensors: sha256 of the download is ${sha256} but the hub says ${hub.weightsEtag}`,
  );
  expect(await readdir(join(root(), 'blobs'))).toEqual([]);
});

test('a damaged part is found out, and the whole file comes again', async () => {
  await mkdir(join(root(), 'blobs'), { recursive: true });
  await writeFile(join(root(), 'blobs', `${sha256}.incomplete`), Buffer.alloc(1000, 255));
  expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
  expect(gets().map((r) => r.range)).toEqual(['bytes=1000-', undefined]);
  expect(await readdir(join(root(), 'blobs'))).toEqual([sha256]);
});

test('localFilesOnly uses the cache and never the network', async () => {
  await expect(open({ localFilesOnly: true })).rejects.toThrow(
    /org\/tiny: is not in the cache .* localFilesOnly is set/,
  );
  await bytesOf(await open());
  hub.requests.length = 0;
  expect(Buffer.compare(await bytesOf(await open({ localFilesOnly: true })), weights)).toBe(0);
  expect(Buffer.compare(await bytesOf(await open({ localFilesOnly: true, revision: commit })), weights)).toBe(
    0,
  );
  expect(hub.requests).toEqual([]);
});

test('a small file that was damaged in the cache is not believed', async () => {
  await (await open()).readText('model_index.json');
  const blob = join(root(), 'blobs', gitHash);
  for (const wrong of [Buffer.from('{"_class_name": "Y"}'), config.subarray(0, 9), Buffer.alloc(0)]) {
    await writeFile(blob, wrong);
    const offline = await open({ localFilesOnly: true });
    await expect(offline.readText('model_index.json')).rejects.toThrow(
      `org/tiny/model_index.json: its copy in the cache is damaged (git hash`,
    );
    const online = await (await open()).readText('model_index.json').catch((e: unknown) => e);
    expect(online instanceof FormatError || online === config.toString()).toBe(true);
  }
});

test('without the hub the cache is used, with a warning', async () => {
  await bytesOf(await open());
  const warnings: string[] = [];
  const { warn } = log;
  log.warn = (message) => warnings.push(message);
  try {
    hub.status = 503;
    expect(Buffer.compare(await bytesOf(await open()), weights)).toBe(0);
  } finally {
    log.warn = warn;
  }
  expect(warnings).toEqual(['org/tiny: the hub cannot be reached, the copy in the cache is used']);
});

test.each([401, 403, 404, 500])('status %i is an error that never shows the token', async (status) => {
  hub.status = status;
  const error = (await open().catch((e: unknown) => e)) as Error;
  expect(error.message).toContain(`status ${status}`);
  expect(`${error.message}${error.stack}${JSON.stringify(error)}`).not.toContain('secret');
});

test('a token that is no header value is refused without being shown', async () => {
  const error = (await open({ token: 'hf_sec\nret' }).catch((e: unknown) => e)) as Error;
  expect(error.message).toContain('token: the hub access token holds characters');
  expect(error.message).not.toContain('hf_sec');
});

test('place, address and token come from the environment', async () => {
  const names = ['HF_HUB_CACHE', 'HF_ENDPOINT', 'HF_TOKEN'] as const;
  const before = names.map((name) => process.env[name]);
  [process.env['HF_HUB_CACHE'], process.env['HF_ENDPOINT'], process.env['HF_TOKEN']] = [
    cacheDir,
    endpoint,
    'hf_fromenv',
  ];
  try {
    await (await openModel('org/tiny', { revision: 'refs/pr/1' })).readText('model_index.json');
  } finally {
    names.forEach((name, i) =>
      before[i] === undefined ? delete process.env[name] : (process.env[name] = before[i]),
    );
  }
  expect(hub.requests.every((r) => r.token === 'Bearer hf_fromenv')).toBe(true);
  expect(await readFile(join(root(), 'refs', 'refs', 'pr', '1'), 'utf8')).toBe(commit);
});

test('the cache is where Python keeps it', () => {
  const names = ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME'] as const;
  for (const name of names) vi.stubEnv(name, undefined);
  try {
    expect(cachePath()).toBe(join(homedir(), '.cache/huggingface/hub'));
    const told = names.toReversed().map((name) => {
      vi.stubEnv(name, `/${name}`);
      return cachePath();
    });
    expect(told).toEqual([
      '/XDG_CACHE_HOME/huggingface/hub',
      '/HF_HOME/hub',
      '/HUGGINGFACE_HUB_CACHE',
      '/HF_HUB_CACHE',
    ]);
  } finally {
    vi.unstubAllEnvs();
  }
});

test('bad ids and bad revisions are refused', async () => {
  await expect(openModel('a/b/c')).rejects.toThrow('nor a hub id');
  await expect(open({ revision: '../../x', localFilesOnly: true })).rejects.toThrow(
    "revision: '../../x' is not a branch, tag or commit",
  );
});
