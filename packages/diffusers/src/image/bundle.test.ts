// What bundlers make of the codecs: a bundled program finds them beside itself, and needs none where it writes PNG.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';

const image = fileURLToPath(new URL('./image.ts', import.meta.url));
const program = `
import { Image } from ${JSON.stringify(image)};
const image = new Image(8, 8, new Uint8ClampedArray(192).fill(200), { prompt: 'a fox', seed: 1 });
for (const format of ['png', 'jpeg', 'webp']) {
  const back = await Image.decode(await image.encode(format));
  console.log(format, back.width, Math.abs(back.data[0] - 200) < 3, back.parameters.prompt);
}
`;
const wasm = [
  '@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm',
  '@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm',
  '@jsquash/webp/codec/enc/webp_enc_simd.wasm',
  '@jsquash/webp/codec/dec/webp_dec.wasm',
];

const folder = mkdtempSync(join(tmpdir(), 'darkroom-codecs-'));
const entry = join(folder, 'program.mjs');
beforeAll(() => writeFileSync(entry, program));
afterAll(() => rmSync(folder, { recursive: true }));

const conditions = ['@darkroom/source'];
const bundlers: Readonly<Record<string, (out: string) => Promise<unknown>>> = {
  esbuild: (outdir) =>
    build({ entryPoints: [entry], bundle: true, format: 'esm', platform: 'node', conditions, outdir, outExtension: { '.js': '.mjs' }, logLevel: 'silent' }),
  rolldown: async (dir) => {
    const bundle = await rolldown({ input: entry, platform: 'node', resolve: { conditionNames: [...conditions, 'import', 'node'] }, logLevel: 'silent' });
    await bundle.write({ dir, format: 'esm', entryFileNames: '[name].mjs' });
  },
}; // prettier-ignore

test.each(Object.entries(bundlers))('%s', async (name, bundle) => {
  const out = join(folder, name);
  await bundle(out);
  const run = (): { stdout: string; stderr: string } =>
    spawnSync(process.execPath, [join(out, 'program.mjs')], {
      encoding: 'utf8',
      env: { ...process.env, NODE_PATH: '' },
    });
  const missing = run();
  expect(missing.stdout).toBe('png 8 true a fox\n');
  expect(missing.stderr).toContain(
    'image: the codec @jsquash/jpeg/codec/enc/mozjpeg_enc.wasm is not installed',
  );
  const require = createRequire(import.meta.url);
  for (const path of wasm) copyFileSync(require.resolve(path), join(out, basename(path)));
  const { stdout, stderr } = run();
  expect(stderr).toBe('');
  expect(stdout).toBe('png 8 true a fox\njpeg 8 true a fox\nwebp 8 true a fox\n');
});
