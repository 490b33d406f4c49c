// What the documents name is there: files, links, and in the tables that follow a call the names that stand in a file.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Documents that name files in code font, from the root of the repository or from `packages/`. */
const guides = ['add-a-model', 'add-an-op', 'follow-conv2d', 'numerics', 'performance'].map(
  (name) => `docs/${name}.md`,
);

/** Names of the files in a folder that end so; of those below it, too, but of installed packages and built files. */
function filesIn(folder: string, ending: string, below = false): readonly string[] {
  const skipped = ['node_modules', 'dist', 'build'];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (entry.isFile()) return entry.name.endsWith(ending) ? [entry.name] : [];
    if (!below || !entry.isDirectory() || skipped.includes(entry.name)) return [];
    return filesIn(join(folder, entry.name), ending, true).map((name) => `${entry.name}/${name}`);
  });
}

const codes = (text: string): readonly string[] => [...text.matchAll(/`([^`\n]+)`/g)].map((m) => m[1]!);

/** Where a file named in code font lies; undefined for what is no path, or is not there. */
function resolved(code: string): string | undefined {
  return [code, `packages/${code}`].find((path) => existsSync(join(root, path)));
}
const isPath = (code: string): boolean =>
  /^[\w@.-]+(\/[\w@.-]+)+\.\w+$|^(packages|docs|scripts)\/[\w@./-]+$/.test(code);

/** Files that a text names and that are not there. */
const missingFiles = (text: string): readonly string[] =>
  codes(text).filter((code) => isPath(code) && resolved(code) === undefined);

/** Targets of relative links of a document in folder `folder` that are not there. */
function missingLinks(text: string, folder: string): readonly string[] {
  const targets = [...text.matchAll(/(?:\]\(|^\[\w+\]: )([^)\s]+)/gm)].map((m) => m[1]!);
  return targets.filter(
    (target) => !/^[a-z]+:|^#/.test(target) && !existsSync(join(root, folder, target.split('#')[0]!)),
  );
}

/** `file: name` for each name in code font that a table's row gives a file, and that does not stand in it. */
function missingNames(text: string): readonly string[] {
  return text.split('\n').flatMap((row) => {
    if (!row.startsWith('|')) return [];
    const [file, ...others] = codes(row);
    const path = file !== undefined && isPath(file) ? resolved(file) : undefined;
    if (path === undefined) return [];
    const source = read(path);
    const names = others.filter((code) => /^[A-Za-z_]\w*(\.\w+)?$/.test(code));
    return names
      .filter((name) => !name.split('.').every((part) => new RegExp(`\\b${part}\\b`).test(source)))
      .map((name) => `${path}: ${name}`);
  });
}

describe.each(guides)('%s', (guide) => {
  const text = read(guide);
  test('the files that it names are there', () => {
    expect(codes(text).filter((code) => isPath(code)).length).toBeGreaterThan(3);
    expect(missingFiles(text)).toEqual([]);
  });
  test('what a row says of a file stands in it', () => {
    expect(missingNames(text)).toEqual([]);
  });
});

test('links between documents lead somewhere', () => {
  const documents = ['.', 'docs', 'docs/decisions', 'docs/results'].flatMap((folder) =>
    filesIn(folder, '.md').map((name) => join(folder, name)),
  );
  expect(documents.length).toBeGreaterThan(20);
  expect(
    documents.flatMap((path) => missingLinks(read(path), dirname(path)).map((to) => `${path}: ${to}`)),
  ).toEqual([]);
});

test('docs/follow-conv2d.md names every step', () => {
  const named = new Set(codes(read('docs/follow-conv2d.md')));
  const steps = [
    'core/src/nn/layers.ts',
    'core/src/ops/conv2d.ts',
    'core/src/dispatch.ts',
    'core/src/recorder.ts',
    'core/src/kernel-cache.ts',
    'core/src/tune/tuner.ts',
    'core/src/graph/record.ts',
    'core/src/graph/passes/channels-last.ts',
    'core/src/graph/passes/fuse-epilogue.ts',
    'core/src/graph/passes/winograd.ts',
    'core/src/graph/plan.ts',
    'core/src/graph/replay.ts',
    'gpu-kernels/src/kernels/conv2d.ts',
    'gpu-kernels/src/kernels/winograd.ts',
    ...['cpu', 'webgpu', 'cuda'].map((name) => `backend-${name}/src/backend.ts`),
    ...['cpu', 'cuda'].map((name) => `backend-${name}/src/kernels/conv2d.ts`),
    'backend-cpu/src/reference/conv2d.ts',
    'backend-cpu/src/simd/conv2d.ts',
    'backend-cuda/src/libraries/cudnn-conv2d.ts',
  ];
  expect(steps.filter((path) => !named.has(path))).toEqual([]);
  // A file of that op which a backend gains belongs into the document, too.
  const files = filesIn('packages', '.ts', true).filter((path) =>
    /\/src\/(.+\/)?(cudnn-)?conv2d\.ts$/.test(path),
  );
  expect(files.length).toBeGreaterThan(5);
  expect(files.filter((path) => !named.has(path))).toEqual([]);
});

test('docs/add-a-model.md lists the files of the toy family, and no other source names it', () => {
  const folder = 'packages/diffusers/src/toy-family';
  const rows = read('docs/add-a-model.md')
    .split('\n')
    .filter((line) => line.startsWith(`| \`${folder}/`));
  const listed = rows.map((row) => codes(row)[0]!.slice(folder.length + 1));
  expect(listed.toSorted()).toEqual(filesIn(folder, '.ts').toSorted());
  const others = filesIn('packages', '.ts', true)
    .map((path) => `packages/${path}`)
    .filter((path) => path.includes('/src/') && !path.startsWith(folder));
  expect(others.length).toBeGreaterThan(300);
  expect(
    others.filter((path) => /toy-family|Toy(Pipeline|Transformer)|ByteEncoder/.test(read(path))),
  ).toEqual([]);
});

test('what is not there is found', () => {
  const row = '| 1 | `core/src/ops/conv2d.ts` | `conv2dOp` and `conv3dOp`, see `core/src/ops/conv3d.ts` |';
  expect(missingFiles(row)).toEqual(['core/src/ops/conv3d.ts']);
  expect(missingNames(row)).toEqual(['packages/core/src/ops/conv2d.ts: conv3dOp']);
  expect(missingFiles('`packages/core/src/made-up/` and `a/b`, `docs/results/`')).toEqual([
    'packages/core/src/made-up/',
  ]);
  const links = '[a](made-up.md#x) [b](numerics.md#tf32) [c](https://example.org/x.md)\n[d]: no/such.md';
  expect(missingLinks(links, 'docs')).toEqual(['made-up.md#x', 'no/such.md']);
});
