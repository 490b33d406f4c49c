// The packages as others get them: packed by pnpm, which replaces workspace versions and development's exports; linted
// as packages, unpacked outside of the repository, imported, type-checked and run there. Other people's packages are
// those that are installed here.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '@darkroom/diffusers/testing';

/** KiB of each packed file at most. A package that outgrows its budget says so here, before its users do. */
const budgets = {
  core: 460,
  'gpu-kernels': 190,
  'backend-cpu': 240,
  'backend-webgpu': 65,
  'backend-cuda': 230,
  diffusers: 750,
  cli: 75,
  'emoji-64': 11_500,
} as const;
type Name = keyof typeof budgets;
const names = Object.keys(budgets) as Name[];
const folderOf = (name: Name): string => join(root, name === 'emoji-64' ? 'models' : 'packages', name);

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly license?: string;
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
const tarballs = new Map<Name, string>();
/** Backends and Dawn are installed where they are wanted. */
const optional = new Set(['@darkroom/backend-webgpu', '@darkroom/backend-cuda', 'webgpu']);
afterAll(() => rmSync(place, { recursive: true }));
beforeAll(() => {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  for (const name of names) {
    const source = folderOf(name);
    const pack = ['--yes', packageManager, 'pack', '--json', '--pack-destination', place];
    const said = run('npx', [...pack, '--config.ignore-scripts=true'], source);
    const tarball = (JSON.parse(said.slice(said.indexOf('{'))) as { filename: string }).filename;
    tarballs.set(name, tarball);
    const target = join(modules, '@darkroom', name);
    mkdirSync(target, { recursive: true });
    run('tar', ['-xzf', tarball, '-C', target, '--strip-components=1'], place);
    const { dependencies, peerDependencies } = manifestOf(source);
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      const link = join(modules, dependency);
      const installed = join(source, 'node_modules', dependency);
      if (dependency.startsWith('@darkroom/') || existsSync(link) || !existsSync(installed)) continue;
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(realpathSync(installed), link);
    }
  }
}, 120_000);

/** Every entry point of every package. */
const entries = (): string[] =>
  names.flatMap((name) =>
    Object.keys(manifestOf(join(modules, '@darkroom', name)).exports)
      .filter((key) => key !== './package.json')
      .map((key) => `@darkroom/${name}${key.slice(1)}`),
  );

describe.each(names)('%s', (name) => {
  const folder = join(modules, '@darkroom', name);

  test('has a README, a licence, and no more than its users need', () => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    for (const file of ['README.md', 'LICENSE']) expect(files).toContain(file);
    expect(files.filter((f) => /\.test\.|\.tsbuildinfo$|^src\/|\.ts$(?<!\.d\.ts)/.test(f))).toEqual([]);
    const { license, dependencies, peerDependencies } = manifestOf(folder);
    expect(license).toBe('Apache-2.0');
    for (const version of Object.values({ ...dependencies, ...peerDependencies }))
      expect(version).not.toMatch(/^(workspace|catalog):/);
    expect(JSON.stringify(manifestOf(folder).exports)).not.toContain('@darkroom/source');
  });

  test('is no larger than its budget', () => {
    expect(statSync(tarballs.get(name)!).size / 1024).toBeLessThanOrEqual(budgets[name]);
  });

  test('publint and arethetypeswrong find nothing', async () => {
    const data = readFileSync(tarballs.get(name)!);
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    const { messages, pkg } = await publint({ pack: { tarball: bytes }, strict: true, level: 'warning' });
    expect(messages.map((m) => formatMessage(m, pkg, { color: false }))).toEqual([]);
    const checked = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)));
    // CommonJS callers use import(), and node10's resolution knows no exports: both are stated in the README.
    const accepted = new Set(['CJSResolvesToESM', 'NoResolution']);
    const problems = checked.types === false ? ['no types'] : checked.problems;
    expect(
      problems.filter(
        (p) =>
          typeof p === 'string' ||
          !accepted.has(p.kind) ||
          (p.kind === 'NoResolution' && p.resolutionKind !== 'node10'),
      ),
    ).toEqual([]);
  });
});

test('every entry point is there and loads', () => {
  const script = `for (const name of ${JSON.stringify(entries())}) {
    const path = import.meta.resolve(name);
    if (!path.includes('/node_modules/@darkroom/')) throw new Error(name + ' is ' + path);
    if (Object.keys(await import(name)).length === 0) throw new Error(name + ' exports nothing');
  }`;
  writeFileSync(join(place, 'all.mjs'), script);
  expect(run('node', ['all.mjs'], place)).toBe('');
  expect(entries()).toContain('@darkroom/core/node');
});

test('a program and the command draw a picture with them, without a package for GPUs', () => {
  const away = join(place, 'away');
  mkdirSync(away);
  const hidden = [...optional].filter((name) => existsSync(join(modules, name)));
  for (const name of hidden) run('mv', [join(modules, name), away], place);
  try {
    const script = `import { cpu } from '@darkroom/backend-cpu';
      import { StableDiffusionPipeline } from '@darkroom/diffusers';
      import { emoji64 } from '@darkroom/emoji-64';
      const pipe = await StableDiffusionPipeline.fromPretrained(emoji64, { device: await cpu({ threads: 1 }) });
      const { images } = await pipe('a fox', { numInferenceSteps: 2, seed: 1 });
      await images[0].save('fox.png');`;
    writeFileSync(join(place, 'draw.mjs'), script);
    expect(run('node', ['draw.mjs'], place)).toBe('');
    expect(readFileSync(join(place, 'fox.png')).subarray(1, 4).toString()).toBe('PNG');
    const command = join(modules, '@darkroom/cli/dist/main.js');
    const drawn = run(
      'node',
      [command, 'generate', 'a fox', '--steps', '2', '--seed', '1', '-o', 'command.png'],
      place,
    );
    expect(drawn).not.toContain('failed');
    expect(run('node', [command, 'devices'], place)).toMatch(
      /npm install @darkroom\/backend-webgpu webgpu[^]*npm install @darkroom\/backend-cuda/,
    );
    expect(run('node', [command, 'generate', 'a fox', '--device', 'cuda'], place)).toContain(
      'cuda: the package @darkroom/backend-cuda is not installed: npm install @darkroom/backend-cuda',
    );
  } finally {
    for (const name of hidden) run('mv', [join(away, name.split('/').at(-1)!), join(modules, name)], place);
  }
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
