// The files of a checkpoint: in a local folder, on a hub, behind a browser's folder handle, in memory.
// Paths are relative, with forward slashes ('unet/config.json'), and never leave the checkpoint.

import { ArgumentError, FormatError, memorySource } from '@darkroom/core';
import type { ByteSource } from '@darkroom/core';

/** Reads a checkpoint's files by path. */
export interface ModelFiles {
  /** The folder, hub id or address, for messages. */
  describe(): string;
  /** True if the checkpoint has a file at `path`. */
  exists(path: string): Promise<boolean>;
  /** A file as UTF-8; rejects, naming the file, if it is missing. */
  readText(path: string): Promise<string>;
  /** A file's bytes by range; rejects, naming the file, if it is missing. */
  source(path: string): Promise<ByteSource>;
  /** Names of the files directly in a folder ('' is the top), without the folder; empty when there is none. */
  list?(folder: string): Promise<readonly string[]>;
}

/** Addresses of a checkpoint's files by path, as packages of models export them: `file:` in Node, `http(s):` in a page. */
export type ModelAddresses = Readonly<Record<string, URL>>;

/** A folder, hub id or http(s) address of a folder; addresses of files; or files themselves. */
export type ModelSource = string | ModelAddresses | ModelFiles;

/**
 * `path` normalized ('a//b/./c' → 'a/b/c'). `what` names the source of the path, as in "model_index.json: component
 * 'unet'".
 * @throws FormatError for paths that could leave the checkpoint: absolute, with a drive letter, '..' or backslashes
 */
export function checkPath(path: string, what: string): string {
  const parts = path.split('/').filter((p) => p !== '' && p !== '.');
  const bad =
    path.startsWith('/') ||
    /[\\\0]/.test(path) ||
    /^[A-Za-z]:/.test(path) ||
    parts.includes('..') ||
    parts.length === 0;
  if (bad)
    throw new FormatError(`${what}: path ${JSON.stringify(path)} must stay inside the checkpoint's folder`);
  return parts.join('/');
}

/** Names of the files directly in `folder` ('' is the top), of all `paths`. `what` names the checkpoint. */
export function namesIn(folder: string, paths: readonly string[], what: string): readonly string[] {
  const prefix = folder === '' ? '' : `${checkPath(folder, what)}/`;
  return paths
    .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
    .map((path) => path.slice(prefix.length));
}

/** Files held in memory, by path: for tests, and for archives that were unpacked elsewhere. */
export function memoryFiles(
  files: Readonly<Record<string, string | Uint8Array>>,
  name = 'memory',
): ModelFiles {
  const contents = new Map(Object.entries(files).map(([path, data]) => [checkPath(path, name), data]));
  const bytes = (path: string): Uint8Array => {
    const data = contents.get(checkPath(path, name));
    if (data === undefined) throw new ArgumentError(`${name}: has no file '${path}'`);
    return typeof data === 'string' ? new TextEncoder().encode(data) : data;
  };
  return {
    describe: () => name,
    exists: async (path) => contents.has(checkPath(path, name)),
    readText: async (path) => new TextDecoder().decode(bytes(path)),
    source: async (path) => memorySource(bytes(path), `${name}/${path}`),
    list: async (folder) => namesIn(folder, [...contents.keys()], name),
  };
}
