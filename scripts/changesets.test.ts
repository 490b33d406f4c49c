// Changesets: those that wait are well-formed, and the next version takes them, without network, in one version for all.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { publishedPackages, readChangesets } from './checks/changesets.mjs';

interface Published {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
}
const root = fileURLToPath(new URL('../', import.meta.url));
const published = publishedPackages(root) as Published[];
const names = published.map(({ name }) => name);

/** A copy of what a version changes. */
let copy: string;
beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'darkroom-version-'));
  const manifests = [...published.map(({ folder }) => relative(root, folder)), 'packages/bench', '.'];
  const kept = ['CHANGELOG.md', 'pnpm-workspace.yaml', 'pnpm-lock.yaml', '.changeset/config.json'];
  for (const path of [
    ...manifests.map((folder) => join(folder, 'package.json')),
    ...kept,
    'packages/diffusers/src/version.ts',
  ]) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    cpSync(join(root, path), join(copy, path));
  }
});
afterEach(() => rmSync(copy, { recursive: true }));
const read = (path: string): string => readFileSync(join(copy, path), 'utf8');
const waits = (name: string, text: string): void => writeFileSync(join(copy, '.changeset', name), text);

test('every changeset that waits names our packages and says what changes', () => {
  expect(names).toContain('@darkroom/emoji-64');
  expect(readChangesets(root, names)).toBeInstanceOf(Array);
});

test('all packages have one version, and the changelog begins with it', () => {
  const versions = new Set(published.map(({ version }) => version));
  expect([...versions]).toEqual([/^## (\S+)$/m.exec(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'))![1]]);
});

test.each([
  ['---\n"@darkroom/nowhere": minor\n---\n\nMore.\n', "a.md: '@darkroom/nowhere' is none of @darkroom/"],
  [
    '---\n"@darkroom/core": huge\n---\n\nMore.\n',
    'a.md: is no changeset: could not parse changeset - invalid version type',
  ],
  ['---\n"@darkroom/core": minor\n---\n', 'a.md: says nothing'],
  ['---\n---\n\nMore.\n', 'a.md: names no package'],
  ['More.\n', 'a.md: is no changeset'],
])('a changeset that is wrong is refused: %j', (text, message) => {
  waits('a.md', text);
  expect(() => readChangesets(copy, names)).toThrow(message);
});

test('the next version takes what waits into the changelog and every package', () => {
  const release = (): { status: number | null; stderr: string } =>
    spawnSync(process.execPath, [join(root, 'scripts/release-version.mjs'), copy], { encoding: 'utf8' });
  expect(release()).toMatchObject({ status: 1, stderr: expect.stringContaining('no changeset') as string });
  const [before, unpublished] = [read('CHANGELOG.md'), read('packages/bench/package.json')];
  waits('b.md', '---\n"@darkroom/backend-cuda": patch\n---\n\nMends a thing.\n');
  waits('a.md', '---\n"@darkroom/core": minor\n"@darkroom/cli": minor\n---\n\nAdds a thing,\nand another.\n');
  expect(release()).toMatchObject({ status: 0, stderr: '' });
  const [major, minor] = published[0]!.version.split('.').map(Number) as [number, number];
  const next = `${major}.${minor + 1}.0`;
  const lines = [
    `# Changelog\n\n## ${next}\n`,
    '- Adds a thing,\n  and another. (`@darkroom/core`, `@darkroom/cli`)',
    '- Mends a thing. (`@darkroom/backend-cuda`)\n',
  ];
  expect(read('CHANGELOG.md')).toBe(before.replace('# Changelog\n', lines.join('\n')));
  for (const { name, version } of publishedPackages(copy) as Published[])
    expect([name, version]).toEqual([name, next]);
  expect(read('packages/bench/package.json')).toBe(unpublished);
  expect(read('packages/cli/package.json')).toContain('"@darkroom/backend-cuda": "workspace:*"');
  expect(read('packages/diffusers/src/version.ts')).toContain(`version = '${next}'`);
  expect(existsSync(join(copy, '.changeset/a.md'))).toBe(false);
});
