// What someone meets who types `npm install` in a clone: npm reads no pnpm workspace, and its error says what to run.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));

test('npm install says which command installs, and leaves nothing behind', () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-clone-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const { status, stderr } = spawnSync('npm', ['install', '--offline', '--prefix', folder], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(status).not.toBe(0);
  const [, words] = /catalog:(npm cannot install this workspace: run npm start, or (npx pnpm@\d+ install))$/m
    .exec(stderr)!
    .slice(1);
  expect(readdirSync(folder)).toEqual(['package.json']);
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`\`${words}\``);
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  expect(words).toBe(`npx ${packageManager.split('.')[0]} install`);
});
