// Every example as a reader runs it: a program of its own, from the built packages, with few steps. What it writes are
// pictures of the right size, not blank, and the same bits in a second run.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Image } from '@darkroom/diffusers';
import { chromiumIsMissing, openChromium, serve } from '../docs/demo/src/testing.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
const files = readdirSync(here, { recursive: true, encoding: 'utf8' }).filter(
  (path) => /\.(mjs|html)$/.test(path) && !path.includes('node_modules'),
);
const programs = files.filter((path) => !path.startsWith('page'));

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-examples-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes of the files that a program writes, by name; kills what hangs, far away from how long any machine takes. */
function written(program: string): Map<string, Uint8Array> {
  const folder = makeFolder();
  const done = spawnSync(process.execPath, [join(here, program), '3'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 1_500_000,
  });
  expect([done.status, done.signal], done.stderr).toEqual([0, null]);
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

const shades = (data: ArrayLike<number>): number => new Set(Array.from(data)).size;

test.each(files)('%s begins with what it shows, in 60 lines', (path) => {
  const lines = readFileSync(join(here, path), 'utf8').trimEnd().split('\n');
  expect(lines.length).toBeLessThanOrEqual(60);
  expect(lines[path.endsWith('.html') ? 1 : 0]).toMatch(/^(\/\/|<!--) [A-Z]/);
});

test.each(programs)('%s draws, and the same twice', async (program) => {
  const first = written(program);
  const second = written(program);
  expect([...first.keys()]).toEqual([...second.keys()]);
  // What the comment at its beginning says that it writes, it writes.
  const promise = /writes ([^]*?)\.\n/.exec(readFileSync(join(here, program), 'utf8'))![1]!;
  for (const [name] of promise.matchAll(/[\w-]+(\.\w+)+/g)) {
    if (name !== 'webgpu.png') expect([...first.keys()]).toContain(name);
  }
  const pictures = [...first].filter(([name]) => name.endsWith('.png'));
  expect(pictures.length).toBeGreaterThan(0);
  for (const [name, bytes] of pictures) {
    const { width, height, data } = await Image.decode(bytes);
    expect([name, width, height]).toEqual([name, 64, 64]);
    expect(shades(data)).toBeGreaterThan(20);
    expect(Buffer.compare(bytes, second.get(name)!), name).toBe(0);
  }
});

test('offload lowers the peak and keeps every bit', () => {
  const pictures = written('offload.mjs');
  for (const name of ['model.png', 'sequential.png'])
    expect(Buffer.compare(pictures.get(name)!, pictures.get('none.png')!), name).toBe(0);
});

describe.skipIf(chromiumIsMissing())('page', () => {
  test.each([false, true])('draws in a worker, with WebGPU: %s', async (webgpu) => {
    const outDir = makeFolder();
    await build({
      root: join(here, 'page'),
      base: './',
      configFile: false,
      logLevel: 'warn',
      worker: { format: 'es' },
      build: { outDir, emptyOutDir: true },
    });
    const server = await serve(outDir);
    onTestFinished(() => server.stop());
    const browser = await openChromium({ webgpu });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    page.setDefaultTimeout(1_500_000);
    const complaints: string[] = [];
    page.on('pageerror', ({ message }) => complaints.push(message));
    const draw = async (): Promise<number[]> => {
      await page.goto(`http://127.0.0.1:${server.port}/?steps=${webgpu ? 1 : 2}`);
      await page.waitForFunction(
        () => !/^(loading|step)/.test(document.querySelector('#state')!.textContent!),
      );
      expect(await page.textContent('#state')).toBe(`done on ${webgpu ? 'webgpu' : 'cpu'}`);
      return page.evaluate(() => {
        const canvas = document.querySelector('canvas')!;
        return [...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data];
      });
    };
    const first = await draw();
    expect([first.length, shades(first) > 20]).toEqual([64 * 64 * 4, true]);
    // A software GPU compiles for minutes, each time.
    if (!webgpu) expect(await draw()).toEqual(first);
    expect(complaints).toEqual([]);
  });
});
