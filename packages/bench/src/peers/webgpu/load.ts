// Loads a peer by name under an interface of ours: only the part of it that is used, and no type of theirs.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const { resolve } = createRequire(import.meta.url);

export async function loadPeer<T extends object>(name: string): Promise<T> {
  return (await import(name)) as T;
}

/** The installed version of a package. */
export function versionOf(name: string): string {
  for (let folder = dirname(resolve(name)); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file)) {
      const manifest = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
      if (manifest.name === name && manifest.version) return manifest.version;
    }
    if (folder === dirname(folder)) throw new Error(`${name}: no package.json above its entry`);
  }
}
