// Against small HTTP servers on this machine that behave as good, plain and bad ones do.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { ArgumentError, FormatError } from '@darkroom/core';
import { afterEach, expect, test } from 'vitest';
import { httpFiles } from './http-files.ts';
import type { HttpOptions } from './http-files.ts';
import type { ModelFiles } from './files.ts';

const large = Uint8Array.from({ length: 9 * 2 ** 20 + 5 }, (_, i) => (i * 7 + (i >> 12)) % 251);
const contents: Readonly<Record<string, Uint8Array>> = {
  '/model/model_index.json': Buffer.from('{"ä": 1}'),
  '/model/unet/small.bin': Uint8Array.of(1, 2, 3, 4, 5),
  '/model/unet/large.bin': large,
  '/model/unet/empty.bin': new Uint8Array(0),
  '/model/a%20b%23%25/x.txt': Buffer.from('odd'),
};

type Handler = (request: IncomingMessage, response: ServerResponse, body: Uint8Array | undefined) => void;

/** Answers ranges as it should. */
const byRange: Handler = (request, response, body) => {
  if (!body) return void response.writeHead(404).end();
  const asked = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  if (!asked) return void response.writeHead(200).end(request.method === 'HEAD' ? undefined : body);
  const [from, to] = [Number(asked[1]), Math.min(Number(asked[2]), body.length - 1)];
  if (from >= body.length)
    return void response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
  response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${body.length}` });
  response.end(body.subarray(from, to + 1));
};
/** Has never heard of ranges. */
const whole: Handler = (request, response, body) => {
  delete request.headers.range;
  byRange(request, response, body);
};

let stop: (() => Promise<void>) | undefined;
let asked: string[];
afterEach(() => stop?.());

async function start(handler: Handler, options: HttpOptions = {}): Promise<ModelFiles> {
  asked = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.headers.range ?? 'whole'}`);
    handler(request, response, contents[request.url!]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return httpFiles(`http://127.0.0.1:${(server.address() as AddressInfo).port}/model`, options);
}

/** A call's error, whole. */
const errorOf = (call: Promise<unknown>): Promise<Error> =>
  call.then(
    () => expect.fail('must reject'),
    (error: unknown) => error as Error,
  );

test.each([
  ['by range', byRange],
  ['whole', whole],
])('text, existence and bytes from a server that answers %s', async (_, handler) => {
  const files = await start(handler);
  expect(files.describe()).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/model$/);
  expect(await files.readText('model_index.json')).toBe('{"ä": 1}');
  expect(await files.readText('a b#%/x.txt')).toBe('odd');
  expect([await files.exists('unet/small.bin'), await files.exists('unet/x')]).toEqual([true, false]);
  const small = await files.source('unet/small.bin');
  expect([small.name, small.bytes, [...(await small.read(1, 3))]]).toEqual([
    `${files.describe()}/unet/small.bin`,
    5,
    [2, 3, 4],
  ]);
  await expect(small.read(3, 3)).rejects.toThrow('small.bin: bytes 3+3 are outside its 5');
  const empty = await files.source('unet/empty.bin');
  expect([empty.bytes, (await empty.read(0, 0)).length]).toEqual([0, 0]);

  const source = await files.source('unet/large.bin');
  expect(source.bytes).toBe(large.length);
  const ranges: [number, number][] = [[0, 8], [5_000_000, 100], [large.length - 3, 3], [10, 6_000_000], [4_194_300, 10]]; // prettier-ignore
  const pieces = await Promise.all(ranges.map(([at, length]) => source.read(at, length)));
  for (const [i, [at, length]] of ranges.entries()) {
    expect(Buffer.compare(pieces[i]!, large.subarray(at, at + length))).toBe(0);
  }
});

test('small reads one after another share requests', async () => {
  const files = await start(byRange);
  const source = await files.source('unet/large.bin');
  for (let at = 0; at + 1000 <= large.length; at += 1000) await source.read(at, 1000);
  expect(asked).toEqual(['GET bytes=0-4194303', 'GET bytes=4194000-8388303', 'GET bytes=8388000-9437188']);
});

test('a server without HEAD, and one that compresses', async () => {
  const plain = await start((request, response, body) =>
    request.method === 'HEAD' ? response.writeHead(405).end() : byRange(request, response, body),
  );
  expect([
    await plain.exists('unet/small.bin'),
    await plain.exists('unet/empty.bin'),
    await plain.exists('no'),
  ]).toEqual([true, true, false]);
  await stop?.();
  const packed = await start((_, response, body) => {
    const bytes = gzipSync(body!);
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bytes.length }).end(bytes);
  });
  const source = await packed.source('unet/large.bin');
  expect([source.bytes, Buffer.compare(await source.read(7, 70_000), large.subarray(7, 70_007))]).toEqual([
    large.length,
    0,
  ]);
});

test('a range whose total is hidden (another origin) is read whole', async () => {
  const files = await start((request, response, body) => {
    if (!request.headers.range) return void response.writeHead(200).end(body);
    response.writeHead(206).end(body!.subarray(0, 4 * 2 ** 20));
  });
  expect((await files.source('unet/large.bin')).bytes).toBe(large.length);
});

test('a missing file, a web page in its place, and a failing server are told with address and status', async () => {
  const files = await start((request, response, body) => {
    if (request.url === '/model/down.json') response.writeHead(503).end();
    else if (body) byRange(request, response, body);
    else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>');
  });
  const page = await errorOf(files.readText('unet/none.json'));
  expect(page).toBeInstanceOf(ArgumentError);
  expect(page.message).toBe(
    `${files.describe()}/unet/none.json: no such file (HTTP 200 OK with a web page instead)`,
  );
  expect(await files.exists('unet/none.json')).toBe(false);
  expect(await errorOf(files.source('unet/none.bin'))).toEqual(
    new ArgumentError(
      `${files.describe()}/unet/none.bin: no such file (HTTP 200 OK with a web page instead)`,
    ),
  );
  for (const call of [files.readText('down.json'), files.exists('down.json'), files.source('down.json')]) {
    const down = await errorOf(call);
    expect(down).toBeInstanceOf(FormatError);
    expect(down.message).toBe(`${files.describe()}/down.json: HTTP 503 Service Unavailable`);
  }
  await stop?.();
  const missing = await start(byRange);
  expect(await errorOf(missing.source('unet/none.bin'))).toEqual(
    new ArgumentError(`${missing.describe()}/unet/none.bin: no such file (HTTP 404 Not Found)`),
  );
  await stop?.();
  const gone = await errorOf(missing.readText('model_index.json'));
  expect(gone).toBeInstanceOf(FormatError);
  expect(gone.message).toMatch(/model_index\.json: could not be fetched: fetch failed \(.+\)$/);
});

test('a file that changes, and answers that break off or lie, are refused', async () => {
  let turn = 0;
  const changing = await start((request, response, body) =>
    byRange(request, response, turn++ === 0 ? body : body!.subarray(0, 6_000_000)),
  );
  const source = await changing.source('unet/large.bin');
  await expect(source.read(5_000_000, 10)).rejects.toThrow(
    'asked for bytes 5000000-9194303 of 9437189, got 1000000 (HTTP 206 Partial Content, bytes 5000000-5999999/6000000); the file changed, or the server is wrong',
  );
  await stop?.();
  const cutting = await start((_, response, body) => {
    response.writeHead(200, { 'content-length': body!.length });
    response.write(body!.subarray(0, 2), () => response.destroy());
  });
  await expect(cutting.source('unet/small.bin')).rejects.toThrow('small.bin: the answer broke off: ');
  await expect(cutting.readText('model_index.json')).rejects.toThrow('the answer broke off: ');
});

test('a server that never answers, stalls or drips is given up', async () => {
  const silent = await start(() => {}, { timeout: 0.2 });
  for (const call of [silent.readText('x.json'), silent.exists('x.json'), silent.source('x.json')])
    expect((await errorOf(call)).message).toBe(
      `${silent.describe()}/x.json: could not be fetched: no answer came within 0.2 s`,
    );
  await stop?.();
  const stalling = await start((_, response) => void response.writeHead(200).write('{'), { timeout: 0.2 });
  for (const call of [stalling.readText('x.json'), stalling.source('x.json')])
    expect((await errorOf(call)).message).toBe(
      `${stalling.describe()}/x.json: the answer broke off: fewer than 1024 more bytes came within 0.2 s`,
    );
  await stop?.();
  const dripping = await start(
    (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('x'), 10);
      response.on('close', () => clearInterval(timer));
    },
    { timeout: 0.2 },
  );
  expect((await errorOf(dripping.readText('x.json'))).message).toContain('fewer than 1024 more bytes came');
});

test('an answer that inflates without end is cut off', async () => {
  const bomb = gzipSync(Buffer.alloc(65 * 2 ** 20, 32));
  const files = await start((_, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
  });
  const error = await errorOf(files.readText('model_index.json'));
  expect(error).toBeInstanceOf(FormatError);
  expect(error.message).toBe(
    `${files.describe()}/model_index.json: the answer is longer than 67108864 bytes`,
  );
  await stop?.();
  let turn = 0;
  const later = await start((request, response, body) => {
    if (turn++ === 0) return byRange(request, response, body);
    response.writeHead(206, { 'content-encoding': 'gzip' }).end(bomb);
  });
  const source = await later.source('unet/large.bin');
  expect((await errorOf(source.read(5_000_000, 10))).message).toContain(
    'the answer is longer than 4194304 bytes',
  );
});

test.each([0, -1, NaN, Infinity])('a timeout of %s is refused', (timeout) => {
  expect(() => httpFiles('http://127.0.0.1:1/', { timeout })).toThrow(`httpFiles: timeout must be seconds`);
});

test.each([
  ['models/emoji-64', 'must be absolute'],
  ['file:///models/emoji-64', 'must be http or https'],
  ['https://example.org/m?x=1', 'must name a folder, without ? and #'],
])('the address %s is refused', (address, message) => {
  expect(() => httpFiles(address)).toThrow(message);
});
test('a password in the address is refused and not repeated', () => {
  expect(() => httpFiles('https://me:secret@example.org/m')).toThrow(
    'httpFiles: the address must hold no password',
  );
  expect(() => httpFiles('ftp://me:secret@example.org/m')).toThrow(/^(?!.*secret)/);
});

test.each(['../x', '/x', 'a/../../x', ''])('the path %j is refused', async (path) => {
  const files = httpFiles('http://127.0.0.1:1/model');
  await expect(files.readText(path)).rejects.toThrow('must stay inside');
  await expect(files.exists(path)).rejects.toThrow('must stay inside');
  await expect(files.source(path)).rejects.toThrow('must stay inside');
});

test('addresses by path are all that there is', async () => {
  const inFolder = await start(byRange);
  const base = inFolder.describe();
  const files = httpFiles({
    'model_index.json': new URL(`${base}/model_index.json`),
    'unet/a.bin': new URL(`${base}/unet/small.bin`),
  });
  expect(await files.exists('unet/a.bin')).toBe(true);
  expect(await files.exists('unet/small.bin')).toBe(false);
  expect(asked).toEqual([]); // known without asking
  expect(await (await files.source('unet/a.bin')).read(1, 3)).toEqual(Uint8Array.of(2, 3, 4));
  await expect(files.readText('vae/config.json')).rejects.toThrow("has no file 'vae/config.json'");
});
