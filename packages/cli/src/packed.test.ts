// The packages as others get them: packed, unpacked outside of the repository, imported and type-checked there. Other
// people's packages are those that are installed here.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '@darkroom/diffusers/testing';

const names = [
  'core',
  'gpu-kernels',
  'backend-cpu',
  'backend-webgpu',
  'backend-cuda',
  'diffusers',
  'cli',
] as const;
interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
/** The output of a command, after success or failure. */
function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  return status === 0 ? stdout : `failed (${status}): ${stdout}${stderr}`;
}

const place = realpathSync(mkdtempSync(join(tmpdir(), 'darkroom-packed-')));
const modules = join(place, 'node_modules');
afterAll(() => rmSync(place, { recursive: true }));
beforeAll(() => {
  for (const name of names) {
    const source = join(root, 'packages', name);
    const packed = run(
      'npm',
      ['pack', '--silent', '--ignore-scripts', '--pack-destination', place],
      source,
    ).trim();
    const target = join(modules, '@darkroom', name);
    mkdirSync(target, { recursive: true });
    run('tar', ['-xzf', join(place, packed), '-C', target, '--strip-components=1'], place);
    const { dependencies, peerDependencies } = manifestOf(source);
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      const link = join(modules, dependency);
      const installed = join(source, 'node_modules', dependency);
      if (dependency.startsWith('@darkroom/') || existsSync(link) || !existsSync(installed)) continue;
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(realpathSync(installed), link);
    }
  }
});

/** Every entry point of every package. */
const entries = (): string[] =>
  names.flatMap((name) =>
    Object.keys(manifestOf(join(modules, '@darkroom', name)).exports).map(
      (key) => `@darkroom/${name}${key.slice(1)}`,
    ),
  );

test('every entry point is there and loads', () => {
  const script = `for (const name of ${JSON.stringify(entries())}) {
    const path = import.meta.resolve(name);
    if (!path.includes('/node_modules/@darkroom/') || !path.includes('/dist/')) throw new Error(name + ' is ' + path);
    if (Object.keys(await import(name)).length === 0) throw new Error(name + ' exports nothing');
  }`;
  writeFileSync(join(place, 'all.mjs'), script);
  expect(run('node', ['all.mjs'], place)).toBe('');
  expect(entries()).toContain('@darkroom/core/node');
});

test('a program draws a picture with them', () => {
  const script = `import { cpu } from '@darkroom/backend-cpu';
    import { StableDiffusionPipeline } from '@darkroom/diffusers';
    const pipe = await StableDiffusionPipeline.fromPretrained(${JSON.stringify(join(root, 'models/emoji-64'))}, { device: await cpu({ threads: 1 }) });
    const { images } = await pipe('a fox', { numInferenceSteps: 2, seed: 1 });
    await images[0].save('fox.png');`;
  writeFileSync(join(place, 'draw.mjs'), script);
  expect(run('node', ['draw.mjs'], place)).toBe('');
  expect(readFileSync(join(place, 'fox.png')).subarray(1, 4).toString()).toBe('PNG');
});

test('the declarations of every entry point are whole, for nodenext and for bundlers', () => {
  const lines = entries().map((name, i) => `export * as e${i} from '${name}';`);
  writeFileSync(join(place, 'all.ts'), lines.join('\n'));
  writeFileSync(join(place, 'package.json'), '{ "type": "module" }');
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ] as const) {
    const compilerOptions = {
      noEmit: true,
      strict: true,
      target: 'es2023',
      module,
      moduleResolution,
      types: [],
    };
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['all.ts'] }));
    expect(run('node', [tsc, '--pretty', 'false'], place)).toBe('');
  }
});
