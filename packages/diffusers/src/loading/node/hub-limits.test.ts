// Servers that are silent, drip, send too much, or ask for patience; and what messages may not tell. No verdict depends
// on how fast this machine is: a limit that is hit too early or too late gives the same error.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ArgumentError, DarkroomError, log } from '@darkroom/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openModel } from '../hub.ts';
import type { HubOptions } from '../hub-options.ts';
import { fakeHub } from './fake-hub.ts';
import type { FakeHub, Kind } from './fake-hub.ts';
import { waitOf } from '../persist.ts';

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251));
const files = { 'model_index.json': Buffer.from('{}'), 'unet/w.safetensors': weights };

let hub: FakeHub;
let cacheDir: string;
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'darkroom-limits-'));
  hub = await fakeHub(files);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(cacheDir, { recursive: true, force: true });
});

const quick = { etagTimeout: 0.3, downloadTimeout: 0.3 };
const fetchAll = async (options: HubOptions = {}): Promise<Buffer> => {
  const model = await openModel('org/tiny', { endpoint: hub.endpoint, cacheDir, ...options });
  await model.readText('model_index.json');
  const source = await model.source('unet/w.safetensors');
  return Buffer.from(await source.read(0, source.bytes));
};
const errorOf = async (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail('must reject'),
    (error: unknown) => error as Error,
  );
const kinds: readonly Kind[] = ['info', 'head', 'get', 'store'];

describe.each(kinds)('for %s', (kind) => {
  test('a server that never answers is given up', async () => {
    hub.change = (answer, asked) => {
      if (asked.kind === kind) answer.hold = new Promise(() => {});
    };
    const error = await errorOf(fetchAll(quick));
    expect(error).toBeInstanceOf(DarkroomError);
    expect(error.message).toMatch(/no answer came within 0\.3 s/);
  });

  test.each([429, 503])('status %i is asked again when Retry-After says so', async (status) => {
    let left = 2;
    hub.change = (answer, asked) => {
      if (asked.kind !== kind || left-- <= 0) return;
      answer.status = status;
      answer.headers = { 'retry-after': left ? '0' : new Date(Date.now() - 5000).toUTCString() };
      answer.body = Buffer.alloc(0);
    };
    expect(Buffer.compare(await fetchAll(), weights)).toBe(0);
    expect(left).toBeLessThanOrEqual(0);
  });

  test('a status that stays is an error', async () => {
    hub.change = (answer, asked) => {
      if (asked.kind !== kind) return;
      answer.status = 429;
      answer.headers = { 'retry-after': '0' };
      answer.body = Buffer.alloc(0);
    };
    expect((await errorOf(fetchAll())).message).toContain('status 429');
  });
});

test.each(['info', 'store'] as const)(
  'for %s, a server that falls silent in the middle is given up',
  async (kind) => {
    hub.change = (answer, asked) => {
      if (asked.kind === kind) Object.assign(answer, { stall: true, cutAt: 10 });
    };
    expect((await errorOf(fetchAll(quick))).message).toMatch(/fewer than 1024 more bytes came within 0\.3 s/);
  },
);

test('a server that drips is given up: its drops are no progress', async () => {
  const drops = createServer((request, response) => {
    response.writeHead(200, { 'content-length': weights.length });
    const timer = setInterval(() => response.write('x'), 20);
    request.on('close', () => clearInterval(timer));
    response.on('close', () => clearInterval(timer));
  });
  await new Promise<void>((done) => drops.listen(0, '127.0.0.1', done));
  hub.change = (answer, { kind, path }) => {
    if (kind === 'get' && path.endsWith('.safetensors'))
      answer.headers = { location: `http://127.0.0.1:${(drops.address() as AddressInfo).port}/` };
  };
  try {
    expect((await errorOf(fetchAll(quick))).message).toMatch(/download stopped at \d+ of 300000 bytes/);
  } finally {
    drops.closeAllConnections();
    await new Promise((done) => drops.close(done));
  }
});

test('an answer that inflates without end is cut off', async () => {
  const bomb = gzipSync(Buffer.alloc(200 * 2 ** 20, 32), { level: 9 });
  hub.change = (answer, { kind }) => {
    if (kind !== 'info') return;
    answer.headers = { 'content-encoding': 'gzip', 'content-type': 'application/json' };
    answer.body = bomb;
  };
  expect((await errorOf(fetchAll())).message).toBe('org/tiny: the answer is longer than 33554432 bytes');
});

test('a file that inflates is cut off at its size', async () => {
  hub.change = (answer, { kind }) => {
    if (kind !== 'store') return;
    answer.headers = { 'content-encoding': 'gzip' };
    answer.body = gzipSync(Buffer.alloc(2 ** 20));
  };
  expect((await errorOf(fetchAll())).message).toBe(
    'org/tiny/unet/w.safetensors: more than its 300000 bytes arrived',
  );
});

test('Retry-After: seconds, dates, and neither', () => {
  expect(['7', ' 0 ', 'Wed, 21 Oct 2015 07:28:00 GMT', '', 'soon', null].map((text) => waitOf(text))).toEqual(
    [7000, 0, 0, undefined, undefined, undefined],
  );
  expect(waitOf('Wed, 21 Oct 2015 07:28:09 GMT', Date.UTC(2015, 9, 21, 7, 28))).toBe(9000);
});

test('time limits come from the environment too, and odd ones are refused', async () => {
  vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '0.3');
  hub.change = (answer) => void (answer.hold = new Promise(() => {}));
  expect((await errorOf(fetchAll())).message).toContain('no answer came within 0.3 s');
  hub.change = () => {};
  vi.stubEnv('HF_HUB_ETAG_TIMEOUT', 'soon');
  expect(await errorOf(fetchAll())).toEqual(
    new ArgumentError("HF_HUB_ETAG_TIMEOUT: must be seconds from 0 to 86400, got 'soon'"),
  );
  vi.stubEnv('HF_HUB_ETAG_TIMEOUT', '0');
  await fetchAll();
  for (const downloadTimeout of [0, -1, NaN, Infinity])
    expect((await errorOf(fetchAll({ downloadTimeout }))).message).toContain(
      'downloadTimeout: must be seconds',
    );
});

describe('a password in the address of the hub', () => {
  const withPassword = (): string => hub.endpoint.replace('//', '//me:pa%20ss@');
  const silent = (error: Error): void => {
    expect(`${error.message}${error.stack}`).not.toMatch(/pa( |%20)ss|me:/);
  };

  test('is sent, to the hub only; a token takes its place', async () => {
    vi.stubEnv('HF_ENDPOINT', withPassword());
    vi.stubEnv('HF_TOKEN_PATH', join(cacheDir, 'none'));
    await fetchAll({ endpoint: withPassword() });
    const basic = `Basic ${Buffer.from('me:pa ss').toString('base64')}`;
    for (const { kind, authorization } of hub.asked)
      expect(authorization, kind).toBe(kind === 'store' ? undefined : basic);
    await rm(join(cacheDir, 'models--org--tiny'), { recursive: true });
    hub.asked.length = 0;
    await fetchAll({ endpoint: withPassword(), token: 'hf_x' });
    for (const { kind, authorization } of hub.asked)
      expect(authorization, kind).toBe(kind === 'store' ? undefined : 'Bearer hf_x');
  });

  test.each([401, 404, 500, 200])('is in no message of status %i', async (status) => {
    hub.change = (answer) => {
      answer.status = status;
      answer.headers = { 'retry-after': '0', location: `${withPassword()}/x` };
      answer.body = Buffer.from('x');
    };
    silent(await errorOf(fetchAll({ endpoint: withPassword() })));
  });

  test('is in no message of an unreachable hub or a bad address', async () => {
    const endpoint = withPassword();
    await hub.close();
    silent(await errorOf(fetchAll({ endpoint })));
    for (const bad of [
      'https://me:pa%20ss@',
      'me:pa%20ss@host',
      'ftp://me:pa%20ss@host',
      'https://me:pa%20ss@host:x',
    ])
      silent(await errorOf(fetchAll({ endpoint: bad })));
    silent(await errorOf(fetchAll({ endpoint: `${endpoint}/?x` })));
    hub = await fakeHub(files);
  });

  test('is in no message of a redirect to a store with a password', async () => {
    hub.change = (answer, { kind, path }) => {
      if (kind === 'get' && path.endsWith('.safetensors'))
        answer.headers = { location: `${hub.store.replace('//', '//me:pa%20ss@')}/none` };
    };
    silent(await errorOf(fetchAll()));
  });
});

describe('a cache that is complete', () => {
  /** Every path with its time of change. */
  const state = async (): Promise<string[]> => {
    const names = await readdir(cacheDir, { recursive: true });
    const times = await Promise.all(
      ['', ...names].map(async (n) => `${n} ${(await stat(join(cacheDir, n))).ctimeMs}`),
    );
    return times.sort();
  };

  test('is not written, online or offline', async () => {
    await fetchAll();
    const before = await state();
    await fetchAll();
    hub.asked.length = 0;
    for (const value of ['1', 'true', 'TRUE', 'On', 'yes']) {
      vi.stubEnv('HF_HUB_OFFLINE', value);
      expect(Buffer.compare(await fetchAll(), weights)).toBe(0);
    }
    expect(hub.asked).toEqual([]);
    for (const value of ['0', 'false', 'no', '']) {
      vi.stubEnv('HF_HUB_OFFLINE', value);
      await fetchAll();
    }
    expect(hub.asked.length).toBeGreaterThan(0);
    vi.unstubAllEnvs();
    const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
    await hub.close();
    expect(Buffer.compare(await fetchAll(), weights)).toBe(0);
    warn.mockRestore();
    hub = await fakeHub(files);
    expect(await state()).toEqual(before);
  });
});

test('a cache that cannot be written is told', async () => {
  await rm(cacheDir, { recursive: true });
  const { writeFile } = await import('node:fs/promises');
  await writeFile(cacheDir, '');
  const warn = vi.spyOn(log, 'warn').mockImplementation(() => {});
  const error = await errorOf(fetchAll());
  warn.mockRestore();
  expect(error).toBeInstanceOf(DarkroomError);
  expect(error.message).toContain(`${cacheDir}`);
  expect(error.message).toContain('cannot be written');
});
