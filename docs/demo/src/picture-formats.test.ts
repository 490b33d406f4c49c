// The codecs of pictures in a page, built as an application would: JPEG and WebP are written and read in Chromium, and
// nothing of them is fetched before.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, defaultClientConditions } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromiumIsMissing, openChromium, serve } from './testing.ts';

const diffusers = fileURLToPath(new URL('../../../packages/diffusers/src/index.ts', import.meta.url));
const program = `
import { Image } from ${JSON.stringify(diffusers)};
const image = new Image(8, 8, new Uint8ClampedArray(192).fill(200), { prompt: 'a fox 狐', seed: 1 });
globalThis.roundTrip = async (format) => {
  const back = await Image.decode(await image.encode(format));
  return [back.width, Math.abs(back.data[0] - 200) < 3, back.parameters.prompt];
};
globalThis.failure = (format) => image.encode(format).then(() => '', (error) => error.message);
`;

const folder = mkdtempSync(join(tmpdir(), 'darkroom-formats-page-'));
const built = join(folder, 'built');
beforeAll(async () => {
  if (chromiumIsMissing()) return;
  writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="./page.js"></script>');
  writeFileSync(join(folder, 'page.js'), program);
  await build({
    root: folder,
    base: './',
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions: ['@darkroom/source', ...defaultClientConditions] },
    build: { outDir: built, chunkSizeWarningLimit: 10_000 },
  });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true }));

test.skipIf(chromiumIsMissing())(
  'each codec is fetched when its format is asked for',
  async () => {
    const server = await serve(built);
    const browser = await openChromium({ webgpu: false });
    try {
      const page = await browser.newPage();
      // A server that does not know the type of .wasm is asked twice: the second time to compile without streaming.
      const fetched = new Set<string>();
      page.on('request', (request) => {
        const name = /([\w]+)-[\w-]+\.wasm$/.exec(request.url())?.[1];
        if (name !== undefined) fetched.add(name);
      });
      await page.goto(`http://127.0.0.1:${server.port}/`);
      await page.waitForFunction('globalThis.roundTrip');
      const done = [8, true, 'a fox 狐'];
      const roundTrip = (format: string): Promise<unknown> => page.evaluate(`roundTrip('${format}')`);
      expect([await roundTrip('png'), fetched.size]).toEqual([done, 0]);
      expect(await roundTrip('jpeg')).toEqual(done);
      expect([...fetched]).toEqual(['mozjpeg_enc', 'mozjpeg_dec']);
      expect(await roundTrip('webp')).toEqual(done);
      expect(await roundTrip('webp')).toEqual(done);
      expect([...fetched].slice(2)).toEqual(['webp_enc_simd', 'webp_dec']);
      // A codec that is not served is one error that says what is missing.
      const bare = await browser.newPage();
      await bare.route('**/*.wasm', (route) => route.fulfill({ status: 404 }));
      await bare.goto(`http://127.0.0.1:${server.port}/`);
      await bare.waitForFunction('globalThis.failure');
      expect(await bare.evaluate("failure('jpeg')")).toContain(
        'image: the codec mozjpeg_enc.wasm cannot be loaded',
      );
    } finally {
      await browser.close();
      await server.stop();
    }
  },
  300_000,
);
