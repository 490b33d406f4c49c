// Rules of the whole repository: who imports whom, no circles of imports, no long files, and reasons for long
// functions. ESLint sees a part of it while one edits.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import { describe, expect, test } from 'vitest';
import { kindOf, packages, restrictions } from './checks/boundaries.mjs';
import { undocumentedExports } from './checks/exports.mjs';
import { circlesOf, graphOf, specifiersOf } from './checks/imports.mjs';

const root = fileURLToPath(new URL('../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
/** Files of the working tree that git does not ignore. */
const files = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate'], {
  cwd: root,
  encoding: 'utf8',
})
  .stdout.split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)));
const typescript = files.filter((path) => /^(packages|docs\/demo)\/.*\.ts$/.test(path));
const sources = files.filter((path) => /\.(ts|mjs|js|cc|h|py|css|html|sh)$/.test(path));

/** The reason why a file of package `name` may not import `specifier`; undefined where it may. */
function refusal(name: string, path: string, specifier: string): string | undefined {
  const rules = restrictions(name, kindOf(path)) as { regex: string; message: string }[];
  return rules.find(({ regex }) => new RegExp(regex).test(specifier))?.message;
}

describe('who imports whom', () => {
  test('every import of every package is allowed', () => {
    const refused: string[] = [];
    for (const path of typescript) {
      const name = /^packages\/([^/]+)\//.exec(path)?.[1];
      if (name === undefined) continue;
      for (const specifier of specifiersOf(read(path), path)) {
        const reason = refusal(name, path, specifier);
        if (reason !== undefined) refused.push(`${path}: '${specifier}': ${reason}`);
      }
    }
    expect(refused).toEqual([]);
  });

  test('a package depends on what it may import, and only its tests on more', () => {
    for (const [name, { imports, tests = [], optional = [] }] of Object.entries(
      packages as Record<string, { imports: string[]; tests?: string[]; optional?: string[] }>,
    )) {
      const manifest = JSON.parse(read(`packages/${name}/package.json`)) as Record<
        string,
        Record<string, string> | undefined
      >;
      const ours = (field: string): string[] =>
        Object.keys(manifest[field] ?? {})
          .filter((key) => key.startsWith('@darkroom/'))
          .map((key) => key.slice('@darkroom/'.length))
          .sort();
      const needed = imports.filter((one) => !optional.includes(one));
      expect([name, ours('dependencies')]).toEqual([name, needed.sort()]);
      expect([name, ours('devDependencies')]).toEqual([name, [...tests, ...optional].sort()]);
      expect([name, ours('peerDependencies')]).toEqual([name, [...optional].sort()]);
      expect([name, ours('peerDependenciesMeta')]).toEqual([name, [...optional].sort()]);
    }
  });

  test.each([
    [
      'core',
      'packages/core/src/a.ts',
      "import { cpu } from '@darkroom/backend-cpu';",
      'core imports no package of ours',
    ],
    ['core', 'packages/core/src/a.ts', "import 'node:fs';", 'platform code lives in src/node/'],
    [
      'diffusers',
      'packages/diffusers/src/a.ts',
      "type A = import('@darkroom/backend-cpu').CpuOptions;",
      'of ours only core',
    ],
    [
      'diffusers',
      'packages/diffusers/src/a.ts',
      "await import('@darkroom/cli/device');",
      'of ours only core',
    ],
    [
      'diffusers',
      'packages/diffusers/src/a.ts',
      "export * from '@darkroom/core/src/op.ts';",
      'not its files',
    ],
    ['diffusers', 'packages/diffusers/src/a.test.ts', "import '../../core/src/op.ts';", 'by its name'],
    ['backend-cpu', 'packages/backend-cpu/src/a.ts', "import '@darkroom/gpu-kernels';", 'of ours only core'],
  ])('%s: %s may not say %s', (name, path, text, message) => {
    expect(refusal(name, path, specifiersOf(text)[0])).toContain(message);
  });

  test.each([
    ['diffusers', 'packages/diffusers/src/node/a.ts', 'node:fs'],
    ['diffusers', 'packages/diffusers/src/a.test.ts', '@darkroom/backend-cpu'],
    ['backend-cuda', 'packages/backend-cuda/src/a.ts', '@darkroom/gpu-kernels'],
    ['cli', 'packages/cli/src/a.ts', '@darkroom/backend-webgpu'],
  ])('%s: %s may import %s', (name, path, specifier) => {
    expect(refusal(name, path, specifier)).toBeUndefined();
  });

  test('ESLint says so too', async () => {
    const eslint = new ESLint({
      cwd: root,
      overrideConfig: [
        { languageOptions: { parserOptions: { project: null } } },
        { rules: { '@typescript-eslint/no-floating-promises': 'off', 'import-x/no-cycle': 'off' } },
      ],
    });
    const said = async (filePath: string, text: string): Promise<string[]> =>
      (await eslint.lintText(text, { filePath: join(root, filePath) })).flatMap(({ messages }) =>
        messages.filter(({ ruleId }) => ruleId === 'no-restricted-imports').map(({ message }) => message),
      );
    const text = "import { cpu } from '@darkroom/backend-cpu';\nvoid cpu;\n";
    expect(await said('packages/diffusers/src/index.ts', text)).toEqual([
      expect.stringContaining('diffusers imports of ours only core'),
    ]);
    expect(await said('packages/cli/src/index.ts', text)).toEqual([]);
  });
});

describe('circles of imports', () => {
  test('there is none, of types neither', () => {
    const circles = circlesOf(graphOf(root, typescript)).map((circle: string[]) => circle.join(' → '));
    expect(circles).toEqual([]);
  });

  test('one would be found', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c', 'd']],
      ['c', ['a']],
      ['d', []],
    ]);
    expect(circlesOf(graph)).toEqual([['a', 'b', 'c', 'a']]);
    expect(specifiersOf("import type { A } from './a.ts'; export type B = import('./b.ts').B;")).toEqual([
      './a.ts',
      './b.ts',
    ]);
  });
});

test('every export of these packages has a doc comment', () => {
  const entries = [
    ...['cli', 'conformance', 'gpu-kernels', 'backend-cpu', 'backend-webgpu', 'backend-cuda'].map(
      (name) => `${name}/src/index.ts`,
    ),
    ...['index', 'backend-api', 'graph/index', 'node/index', 'testing/index'].map(
      (name) => `core/src/${name}.ts`,
    ),
    'cli/src/device.ts',
    'backend-webgpu/src/node/testing.ts',
    'backend-cuda/src/node/testing.ts',
    ...['index', 'client/index', 'client/worker', 'node/testing'].map((name) => `diffusers/src/${name}.ts`),
  ];
  expect(entries.flatMap((path) => undocumentedExports(join(root, 'packages', path)))).toEqual([]);
});

test('files that a package leaves out of browsers are there', () => {
  const named = Object.keys(packages as object).flatMap((name) => {
    const { browser = {} } = JSON.parse(read(`packages/${name}/package.json`)) as { browser?: object };
    return Object.keys(browser).map((path) => join('packages', name, path));
  });
  const sourceOf = (path: string): string => path.replace('/dist/', '/src/').replace(/\.js$/, '.ts');
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((path) => !existsSync(join(root, sourceOf(path))))).toEqual([]);
});

test('no file is longer than 400 lines', () => {
  const long = sources.map((path) => `${path}: ${read(path).trimEnd().split('\n').length}`);
  expect(long.filter((line) => Number(line.split(': ')[1]) > 400)).toEqual([]);
});

test('where a file or function may be longer, a reason stands beside it', () => {
  const bare = sources.flatMap((path) =>
    read(path)
      .split('\n')
      .filter((line) => /eslint-disable.* max-lines/.test(line) && !/ max-lines[\w-]* -- \S/.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  );
  expect(bare.filter((line) => !line.startsWith('scripts/repository.test.ts'))).toEqual([]);
});
