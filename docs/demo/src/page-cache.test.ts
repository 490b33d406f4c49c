// Models that a page keeps, in Chromium, with a server that counts what it is asked: nothing twice, nothing that is not
// there, and nothing half.

import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { chromiumIsMissing, openChromium } from './testing.ts';
import { serveModels } from './model-server.ts';
import type { ModelServer } from './model-server.ts';

const diffusers = fileURLToPath(new URL('../../../packages/diffusers/src/index.ts', import.meta.url));
const program = `
import { cachedModels, clearCache, openModel } from ${JSON.stringify(diffusers)};
const hex = (bytes) => Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, '0')).join('');
/** Opens files of a model and gives their sha256, read in odd parts. */
const read = async (model, options, paths) => {
  const files = await openModel(model, options);
  const sums = [];
  for (const path of paths) {
    const source = await files.source(path);
    const whole = new Uint8Array(source.bytes);
    for (let at = 0; at < whole.length; at += 7_000_001) {
      const length = Math.min(7_000_001, whole.length - at);
      whole.set(await source.read(at, length), at);
    }
    sums.push(globalThis.crypto.subtle ? hex(await crypto.subtle.digest('SHA-256', whole)) : whole.length);
  }
  return { sums, missing: await files.exists('safety_checker/config.json') };
};
const addresses = (urls) => Object.fromEntries(Object.entries(urls).map(([path, url]) => [path, new URL(url)]));
Object.assign(globalThis, { addresses, cachedModels, clearCache, read });
`;

const mib = 2 ** 20;
/** Three pieces: two whole ones and the start of a third. */
const large = (seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: 20 * mib + 5 }, (_, i) => (i * seed + (i >> 13)) % 251));
const config = Buffer.from('{"_class_name": "Tiny"}');
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const first = large(7);
const second = large(11);
const paths = ['model_index.json', 'unet.bin'];

describe.skipIf(chromiumIsMissing())('models in a page', () => {
  let server: ModelServer;
  let browser: Browser;
  let context: BrowserContext;
  let base: string;
  beforeAll(async () => {
    const { outputFiles } = await build({
      stdin: { contents: program, resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
      bundle: true,
      format: 'esm',
      platform: 'browser',
      conditions: ['@darkroom/source'],
      write: false,
      logLevel: 'error',
    });
    const html =
      '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';
    const pages = new Map([
      ['/', { type: 'text/html', body: Buffer.from(html) }],
      ['/page.js', { type: 'text/javascript', body: Buffer.from(outputFiles[0]!.contents) }],
    ]);
    server = await serveModels(new Map(), pages);
    base = `http://127.0.0.1:${server.port}`;
    browser = await openChromium({
      webgpu: false,
      args: ['--host-resolver-rules=MAP plain.example 127.0.0.1'],
    });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    server.files.clear();
    server.files.set('tiny/model_index.json', config).set('tiny/unet.bin', first);
    Object.assign(server, { cutAt: undefined, tells: true, lies: undefined });
    context = await browser.newContext();
  });
  afterEach(() => context.close());

  /** What a visit asks of the server, gives, and writes to the console. */
  interface Visit {
    readonly asked: readonly string[];
    readonly sums: readonly (string | number)[];
    readonly said: readonly string[];
    readonly page: Page;
  }
  /** A visit of a new page that reads a model's files; `model` is an expression of the page. */
  async function visit(
    model: string,
    { options = {}, origin = base, read = paths }: VisitOptions = {},
  ): Promise<Visit> {
    const page = await context.newPage();
    page.setDefaultTimeout(600_000);
    const said: string[] = [];
    page.on('console', (message) => said.push(message.text()));
    await page.goto(origin);
    await page.waitForFunction('globalThis.read');
    server.asked.length = 0;
    const call = `read(${model}, ${JSON.stringify(options)}, ${JSON.stringify(read)})`;
    const { sums, missing } = await page.evaluate<{ sums: string[]; missing: boolean }>(call);
    expect(missing).toBe(false);
    return { asked: [...server.asked], sums, said, page };
  }
  interface VisitOptions {
    readonly options?: object;
    readonly origin?: string;
    readonly read?: readonly string[];
  }
  const kept = async (page: Page): Promise<{ model: string; files: number; bytes: number }[]> =>
    (await page.evaluate('cachedModels()')) as { model: string; files: number; bytes: number }[];
  const hub = (): VisitOptions => ({ options: { endpoint: `${base}/hub` } });
  const addresses = (model = 'tiny'): string =>
    `addresses({ 'model_index.json': '${base}/models/${model}/model_index.json', 'unet.bin': '${base}/models/${model}/unet.bin' })`;
  const [list, resolve] = [
    'GET /hub/api/models/org/tiny/revision/main',
    `/hub/org/tiny/resolve/${'c'.repeat(40)}`,
  ];
  const sums = [sha256(config), sha256(first)];

  test('a hub id: one list and one request for each file, then the list alone', async () => {
    const one = await visit("'org/tiny'", hub());
    expect(one.asked).toEqual([list, `GET ${resolve}/model_index.json`, `GET ${resolve}/unet.bin`]);
    expect([one.sums, one.said]).toEqual([sums, []]);
    const two = await visit("'org/tiny'", hub());
    expect([two.asked, two.sums, two.said]).toEqual([[list], sums, []]);
    expect(await kept(two.page)).toMatchObject([
      { model: 'org/tiny', files: 2, bytes: first.length + config.length },
    ]);
    // A file that changed is the only one that comes again.
    server.files.set('tiny/unet.bin', second);
    const three = await visit("'org/tiny'", hub());
    expect([three.asked, three.sums]).toEqual([
      [list, `GET ${resolve}/unet.bin`],
      [sums[0], sha256(second)],
    ]);
    // Without the hub, what is kept.
    await three.page.route('**/hub/**', (route) => route.abort());
    const offline = await three.page.evaluate<{ sums: string[] }>(
      `read('org/tiny', { endpoint: '${base}/hub' }, ${JSON.stringify(paths)})`,
    );
    expect(offline.sums).toEqual(three.sums);
    await three.page.evaluate("clearCache('org/tiny')");
    expect(await kept(three.page)).toEqual([]);
  });

  test('addresses: one request for each file, then one question; a changed file comes again', async () => {
    const one = await visit(addresses());
    const urls = paths.map((path) => `/models/tiny/${path}`);
    expect([one.asked, one.sums, one.said]).toEqual([urls.map((url) => `GET ${url}`), sums, []]);
    const two = await visit(addresses());
    expect([two.asked, two.sums]).toEqual([urls.map((url) => `HEAD ${url}`), sums]);
    server.files.set('tiny/unet.bin', second);
    const three = await visit(addresses());
    expect([three.asked, three.sums[1]]).toEqual([
      [...urls.map((url) => `HEAD ${url}`), `GET ${urls[1]}`],
      sha256(second),
    ]);
    const folder = await visit(`'${base}/models/tiny/'`, { read: ['unet.bin'] });
    expect(folder.asked).toEqual([`HEAD ${urls[1]}`, 'HEAD /models/tiny/safety_checker/config.json']);
    await folder.page.evaluate('clearCache()');
    expect(await kept(folder.page)).toEqual([]);
  });

  test('a download that is cut goes on behind its whole pieces', async () => {
    server.cutAt = 10 * mib;
    await expect(visit("'org/tiny'", hub())).rejects.toThrow('unet.bin: the answer broke off: ');
    server.cutAt = undefined;
    const { asked, sums: got, page } = await visit("'org/tiny'", hub());
    expect(asked).toEqual([list, `GET ${resolve}/unet.bin bytes=${8 * mib}-`]);
    expect(got).toEqual(sums);
    expect((await kept(page))[0]!.bytes).toBe(first.length + config.length);
  });

  test('pieces of another version are not continued', async () => {
    server.cutAt = 10 * mib;
    await expect(visit(addresses())).rejects.toThrow('the answer broke off: ');
    server.cutAt = undefined;
    server.files.set('tiny/unet.bin', second);
    const { sums: got } = await visit(addresses());
    expect(got[1]).toBe(sha256(second));
  });

  test('a file with a wrong hash is not kept', async () => {
    server.lies = 'a'.repeat(64);
    await expect(visit("'org/tiny'", hub())).rejects.toThrow(
      `sha256 of the download is ${sums[1]} but the hub says ${server.lies}; the file was deleted`,
    );
    const page = context.pages().at(-1)!;
    expect(await kept(page)).toMatchObject([{ files: 1, bytes: config.length }]);
  });

  test('a piece that was damaged or dropped in the browser is fetched anew', async () => {
    const { page } = await visit(addresses());
    await page.evaluate(async () => {
      const cache = await caches.open('darkroom-models');
      const piece = (await cache.keys()).find(({ url }) => url.endsWith('unet.bin/1'))!;
      await cache.put(piece, new Response(new Uint8Array(8 * 2 ** 20)));
    });
    const two = await visit(addresses());
    expect(two.sums).toEqual(sums);
    expect(two.asked.filter((line) => line.endsWith('unet.bin'))).toEqual([
      'HEAD /models/tiny/unet.bin',
      'GET /models/tiny/unet.bin',
    ]);
  });

  test('the model used longest ago makes room; what is larger than all room is not kept', async () => {
    for (const name of ['other', 'third'])
      server.files.set(`${name}/model_index.json`, config).set(`${name}/unet.bin`, second);
    const most = (cacheBytes: number): VisitOptions => ({ options: { cacheBytes } });
    await visit(addresses('tiny'), most(45 * mib));
    await visit(addresses('other'), most(45 * mib));
    await visit(addresses('tiny'), most(45 * mib));
    const { page } = await visit(addresses('third'), most(45 * mib));
    const names = (await kept(page)).map(({ model }) => /models\/(\w+)/.exec(model)![1]);
    expect(names).toEqual(['third', 'tiny']);
    await page.evaluate('clearCache()');
    const none = await visit(addresses(), most(5 * mib));
    expect([none.sums, none.said]).toEqual([
      sums,
      [expect.stringContaining('keeps no copy: it has more bytes than the cache may hold')],
    ]);
    expect((await kept(none.page))[0]!.bytes).toBe(config.length);
  });

  test('a server that tells no version, and a page that is not secure, keep nothing and say so once', async () => {
    server.tells = false;
    const one = await visit(addresses());
    expect([one.sums, one.said.length, await kept(one.page)]).toEqual([sums, 1, []]);
    expect(one.said[0]).toContain('keeps no copy: its server tells neither ETag nor Last-Modified');
    server.tells = true;
    const origin = `http://plain.example:${server.port}`;
    const insecure = await visit(addresses().replaceAll('127.0.0.1', 'plain.example'), { origin });
    expect(insecure.sums).toEqual([config.length, first.length]);
    expect(insecure.said).toEqual([
      expect.stringContaining('keeps no model files: no Cache API here (it is offered to pages over https'),
    ]);
  });

  test('two pages at once download a file once', async () => {
    const pages = await Promise.all([context.newPage(), context.newPage()]);
    for (const page of pages) await page.goto(base);
    for (const page of pages) await page.waitForFunction('globalThis.read');
    server.asked.length = 0;
    const call = `read(${addresses()}, {}, ['unet.bin'])`;
    const got = await Promise.all(pages.map((page) => page.evaluate<{ sums: string[] }>(call)));
    expect(got.map(({ sums: [sum] }) => sum)).toEqual([sums[1], sums[1]]);
    expect(server.asked.filter((line) => line.startsWith('GET'))).toHaveLength(1);
    onTestFinished(() => Promise.all(pages.map((page) => page.close())).then(() => {}));
  });
});
