// An empty folder outside of the repository, where npm installs packed packages and, from its registry, what they need.

import { lstatSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skip } from '@darkroom/core/testing';
import { run, succeed } from './pack.ts';

/** A fresh folder with a package.json, as `npm init` leaves it, for ES modules. */
export function emptyFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'darkroom-install-')));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  return folder;
}

/** Installs packages, tarballs by path, beside those that are there. */
export function install(folder: string, packages: readonly string[]): void {
  // No install script may be needed.
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  succeed('npm', ['install', ...options, ...packages], folder);
}

/** What an install put into a folder. */
export interface Installed {
  /** Names of the packages, at any depth. */
  readonly packages: readonly string[];
  /** Packages whose installation runs a program. */
  readonly withScripts: readonly string[];
  /** Files that are no JavaScript but machine code or a recipe for it. */
  readonly native: readonly string[];
  /** MB (10^6 bytes) of all files. */
  readonly megabytes: number;
}

/** Looks at what npm installed. */
export function look(folder: string): Installed {
  const lock = JSON.parse(readFileSync(join(folder, 'node_modules/.package-lock.json'), 'utf8')) as {
    packages: Record<string, { hasInstallScript?: boolean }>;
  };
  const all = Object.entries(lock.packages).map(([path, { hasInstallScript = false }]) => ({
    name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
    hasInstallScript,
  }));
  const modules = join(folder, 'node_modules');
  const files = readdirSync(modules, { recursive: true, encoding: 'utf8' });
  const bytes = files.reduce((sum, path) => {
    const stats = lstatSync(join(modules, path));
    return stats.isFile() ? sum + stats.size : sum;
  }, 0);
  return {
    packages: all.map(({ name }) => name),
    withScripts: all.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name),
    native: files.filter((path) => /(\.node|\.so|\.dylib|\.dll|binding\.gyp|CMakeLists\.txt)$/.test(path)),
    megabytes: bytes / 1e6,
  };
}

/** True where no registry answers npm. */
export const npmIsMissing = (): boolean =>
  run('npm', ['view', 'commander', 'version', '--fetch-retries=0'], tmpdir()).status !== 0 &&
  skip('npm', 'no registry answers npm, so the packed packages cannot be installed');

/** True where a JavaScript runtime is neither on PATH nor in DARKROOM_RUNTIMES. */
export const runtimeIsMissing = (command: string): boolean =>
  run(command, ['--version'], tmpdir()).status !== 0 &&
  skip(
    command,
    `no ${command} on PATH; npm install --prefix DIR ${command}, then DARKROOM_RUNTIMES=DIR/node_modules/.bin`,
  );
