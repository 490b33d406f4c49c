// The README's program as it stands, under every JavaScript runtime that is here: the same picture. On PATH or in
// DARKROOM_RUNTIMES (a folder of programs); those missing are skipped with the reason printed, unless DARKROOM_REQUIRE
// names them, as CI does. Runs the built packages, so `tsc -b` comes first, as in npm test.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transpileModule } from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Image } from '@darkroom/diffusers';

const bench = fileURLToPath(new URL('../', import.meta.url));
const root = join(bench, '../..');
const path = [process.env['DARKROOM_RUNTIMES'], process.env['PATH']].filter(Boolean).join(delimiter);

/** A folder inside this package, from where a program finds the packages as an application would. */
let folder: string;
beforeAll(() => {
  mkdirSync(join(bench, '.cache'), { recursive: true });
  folder = mkdtempSync(join(bench, '.cache/runtimes-'));
  const program = /```ts\n(import [^`]*save\('fox\.png'\);\n)```/.exec(
    readFileSync(join(root, 'README.md'), 'utf8'),
  )![1]!;
  writeFileSync(join(folder, 'program.ts'), program);
  const { outputText } = transpileModule(program, { compilerOptions: { target: 99, module: 99 } });
  writeFileSync(join(folder, 'program.mjs'), outputText);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes and reads each format of pictures, whose codecs each runtime finds and compiles in its own way. */
const pictures = `
import { Image } from '@darkroom/diffusers';
const image = new Image(8, 8, new Uint8ClampedArray(192).fill(200), { prompt: 'a fox', seed: 1 });
for (const name of ['a.png', 'a.jpg', 'a.webp']) {
  await image.save(name);
  const { width, data, parameters } = await Image.load(name);
  console.log(name, width, Math.abs(data[0] - 200) < 3, parameters.prompt);
}
`;

function writesPictures(command: string, ...args: string[]): void {
  writeFileSync(join(folder, 'pictures.mjs'), pictures);
  const done = spawnSync(command, [...args, 'pictures.mjs'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
    timeout: 600_000,
  });
  const lines = ['a.png', 'a.jpg', 'a.webp'].map((name) => `${name} 8 true a fox\n`);
  expect(done.stdout, done.stderr).toBe(lines.join(''));
}

/** Runs the program; kills what hangs, far away from how long any machine takes. */
function draw(command: string, ...args: string[]): Image {
  const done = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
    timeout: 1_500_000,
  });
  expect([done.status, done.signal], `${command}: ${done.stderr}${done.error?.message ?? ''}`).toEqual([
    0,
    null,
  ]);
  const image = Image.fromPng(readFileSync(join(folder, 'fox.png')));
  rmSync(join(folder, 'fox.png'));
  return image;
}

function isMissing(command: string): boolean {
  const found = spawnSync(command, ['--version'], { env: { ...process.env, PATH: path } });
  if (found.status === 0) return false;
  const reason = `no ${command} on PATH; npm install --prefix DIR ${command}, then DARKROOM_RUNTIMES=DIR/node_modules/.bin`;
  if ((process.env['DARKROOM_REQUIRE'] ?? '').split(',').includes(command)) throw new Error(reason);
  console.warn(`skipped: ${reason}`);
  return true;
}

describe("the README's program", () => {
  let node: Image;
  test('runs in Node', () => {
    node = draw(process.execPath, 'program.mjs');
    expect([node.width, node.height]).toEqual([64, 64]);
    writesPictures(process.execPath);
  });

  // Two threads hung in Deno, whose parentPort has no close().
  test.skipIf(isMissing('deno'))('draws the same in Deno', () => {
    const image = draw('deno', 'run', '-A', '--node-modules-dir=manual', 'program.ts');
    expect(farthest(image, node)).toBeLessThanOrEqual(1);
    writesPictures('deno', 'run', '-A', '--node-modules-dir=manual');
  });

  test.skipIf(isMissing('bun'))('draws the same in Bun', () => {
    expect(farthest(draw('bun', 'program.ts'), node)).toBeLessThanOrEqual(1);
    writesPictures('bun');
  });
});

/** Largest difference of two pictures, in 0 … 255. Engines may round differently where they fuse multiply and add. */
function farthest(a: Image, b: Image): number {
  expect(a.data.length).toBe(b.data.length);
  return a.data.reduce((most, v, i) => Math.max(most, Math.abs(v - b.data[i]!)), 0);
}
