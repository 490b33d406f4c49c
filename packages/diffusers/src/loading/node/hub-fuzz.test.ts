// A hub that says anything: statuses, headers, sizes, hashes, bodies and connections of chance. Either the bytes are right
// or there is one DarkroomError; nothing is written outside the cache, nothing wrong is believed, the token goes nowhere
// else, and with an honest hub all is well again. DARKROOM_PROPERTY_RUNS draws more cases.

import { lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DarkroomError, log } from '@darkroom/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openModel } from '../hub.ts';
import { commit, fakeHub, gitHash, sha256 } from './fake-hub.ts';
import type { FakeAnswer, FakeHub, Kind } from './fake-hub.ts';

const weights = Buffer.from(Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7) % 251));
const config = Buffer.from('{"_class_name": "X"}');
const files = { 'model_index.json': config, 'unet/w.safetensors': weights };
const secret = 'hf_secretsecret';

let hub: FakeHub;
/** A third server: where redirects lead that no hub would give. */
let elsewhere: FakeHub;
beforeAll(async () => {
  hub = await fakeHub(files);
  elsewhere = await fakeHub(files);
  vi.spyOn(log, 'warn').mockImplementation(() => {});
});
afterAll(async () => {
  vi.restoreAllMocks();
  await hub.close();
  await elsewhere.close();
});

type Change = (answer: FakeAnswer) => void;
const odd = fc.constantFrom('', '0', '5', '-1', 'abc', '1e9', '../../../x', '20000', '19999', '20001', '9007199254740993', 'a'.repeat(40), sha256(config), sha256(weights).toUpperCase(), `W/"${gitHash(config).toUpperCase()}"`, '"../../x"', 'bytes 0-4/5', 'bytes 7-19999/20000', 'bytes abc', 'gzip', 'br', 'identity', 'soon'); // prettier-ignore
const names = fc.constantFrom('etag', 'x-linked-etag', 'x-linked-size', 'content-length', 'content-range', 'content-encoding', 'content-type', 'retry-after', 'location'); // prettier-ignore
const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .constantFrom(200, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 408, 416, 418, 429, 500, 503)
    .map((status): Change => (answer) => {
      answer.status = status;
      answer.headers['retry-after'] = '0';
    }),
  fc.tuple(names, odd).map(
    ([name, value]): Change =>
      (answer) =>
        void (answer.headers[name] = value),
  ),
  names.map(
    (name): Change =>
      (answer) =>
        void delete answer.headers[name],
  ),
  fc.nat(20_100).map(
    (at): Change =>
      (answer) =>
        void (answer.cutAt = at),
  ),
  fc.nat(20_100).map(
    (at): Change =>
      (answer) =>
        void (answer.body = answer.body.subarray(0, at)),
  ),
  fc.uint8Array({ minLength: 1, maxLength: 50 }).map(
    (more): Change =>
      (answer) =>
        void (answer.body = Buffer.concat([answer.body, more])),
  ),
  fc.tuple(fc.nat(19_999), fc.integer({ min: 1, max: 255 })).map(([at, bits]): Change => (answer) => {
    answer.body = Buffer.from(answer.body);
    if (answer.body.length > 0) answer.body[at % answer.body.length]! ^= bits;
  }),
  fc.constant<Change>((answer) => {
    answer.headers['content-encoding'] = 'gzip';
    answer.body = gzipSync(answer.body);
    delete answer.headers['content-length'];
  }),
  fc
    .constantFrom(
      'elsewhere',
      '//',
      'http://',
      'file:///etc/passwd',
      '/api/models/org/tiny/revision/main',
      'self',
    )
    .map((to): Change => (answer) => {
      answer.status = 302;
      answer.headers = {
        location: to === 'elsewhere' ? `${elsewhere.store}/unet/w.safetensors` : to === 'self' ? '' : to,
      };
    }),
  fc
    .record(
      {
        sha: fc.constantFrom<unknown>('../../../outside', 'c'.repeat(39), null, 5, 'C'.repeat(40)),
        siblings: fc.constantFrom<unknown>(
          null,
          [null],
          [{}],
          [{ rfilename: '../../../../outside' }],
          [{ rfilename: 'model_index.json' }, { rfilename: 'unet/w.safetensors', size: 5 }],
          [{ rfilename: 'unet' }, { rfilename: 'unet/w.safetensors' }, { rfilename: 'model_index.json' }],
          [{ rfilename: 'unet/w.safetensors', size: 'abc' }],
        ),
      },
      { requiredKeys: [] },
    )
    .map((fields): Change => (answer) => {
      if (answer.headers['content-type'] !== 'application/json') return;
      const json = JSON.parse(answer.body.toString()) as object;
      answer.body = Buffer.from(JSON.stringify({ ...json, ...fields }));
    }),
);
/** The n-th answer of a kind is changed. */
const changes = fc.array(
  fc.record({ kind: fc.constantFrom<Kind>('info', 'head', 'get', 'store'), nth: fc.nat(2), change }),
  { minLength: 1, maxLength: 4 },
);

async function loadAll(cacheDir: string): Promise<void> {
  const model = await openModel('org/tiny', { endpoint: hub.endpoint, cacheDir, token: secret });
  expect(await model.readText('model_index.json')).toBe(config.toString());
  const source = await model.source('unet/w.safetensors');
  expect(sha256(Buffer.from(await source.read(0, source.bytes)))).toBe(sha256(weights));
}

/** Nothing lies outside the cache; what has a blob's name is that blob; links lead to blobs. */
async function expectSound(base: string): Promise<void> {
  expect(await readdir(base)).toEqual(['cache']);
  const root = join(base, 'cache', 'models--org--tiny');
  expect(await readdir(join(base, 'cache'))).toEqual(
    (await stat(root).catch(() => undefined)) ? ['models--org--tiny'] : [],
  );
  for (const name of await readdir(join(root, 'blobs')).catch(() => [])) {
    if (name.endsWith('.incomplete')) continue;
    const data = await readFile(join(root, 'blobs', name));
    expect(name).toBe(name.length === 64 ? sha256(data) : gitHash(data));
  }
  for (const inner of await readdir(join(root, 'snapshots'), { recursive: true }).catch(() => [])) {
    expect(inner.split('/')[0]).toBe(commit);
    const path = join(root, 'snapshots', inner);
    if (!(await lstat(path)).isSymbolicLink()) continue;
    const to = await realpath(path);
    expect(to).toBe(join(await realpath(join(root, 'blobs')), basename(to)));
  }
}

test('any answers give the right bytes or one error, and nothing wrong is kept', async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const base = await mkdtemp(join(tmpdir(), 'darkroom-fuzz-'));
      const cacheDir = join(base, 'cache');
      await mkdir(cacheDir);
      try {
        hub.asked.length = elsewhere.asked.length = 0;
        const counts = new Map<Kind, number>();
        hub.change = (answer, { kind }) => {
          const n = counts.get(kind) ?? 0;
          counts.set(kind, n + 1);
          for (const one of list) if (one.kind === kind && one.nth === n) one.change(answer);
        };
        try {
          await loadAll(cacheDir);
        } catch (error) {
          refused++;
          expect(error).toBeInstanceOf(DarkroomError);
          expect(`${(error as Error).message}${(error as Error).stack}`).not.toContain(secret);
        }
        await expectSound(base);
        const strangers = [...hub.asked.filter((a) => a.kind === 'store'), ...elsewhere.asked];
        expect(strangers.filter((a) => a.authorization !== undefined)).toEqual([]);
        hub.change = () => {};
        await loadAll(cacheDir);
        await expectSound(base);
      } finally {
        await rm(base, { recursive: true, force: true });
      }
    }),
    { numRuns: Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 40), seed: 7 },
  );
  expect(refused).toBeGreaterThan(0);
});
