// A checkpoint in a local folder. Reads by range, so that no file has to fit one buffer; never leaves the folder.

import type { FileHandle } from 'node:fs/promises';
import { open, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArgumentError, FormatError } from '@darkroom/core';
import type { ByteSource } from '@darkroom/core';
import { checkPath } from '../files.ts';
import type { ModelFiles } from '../files.ts';

/** One positional read of Node may not pass 2 GiB. */
const maxRead = 2 ** 30;

export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );
}

/** @throws ArgumentError for a path of a file or of a missing folder, before the hub is asked for it as an id. */
export async function checkNotLocal(path: string): Promise<void> {
  const single = 'a model is a folder (with model_index.json), and single files are not supported yet';
  const found = await stat(path).catch(() => undefined);
  if (found) throw new ArgumentError(`model: '${path}' is a file; ${single}`);
  // 'org/name.pt' may be a model of a hub.
  if (/^[^/]*\.(safetensors|ckpt|bin|pth?|gguf|onnx|json|zip)$/i.test(path))
    throw new ArgumentError(`model: the file '${path}' does not exist; ${single}`);
  const looksLikePath = /^\.{0,2}[\\/]|^\.{1,2}$|^~|^[A-Za-z]:|\\|[\\/]$/.test(path);
  if (!looksLikePath && !(path.includes('/') && (await isFolder(path.split('/')[0]!)))) return;
  const home = path.startsWith('~') ? ' (~ is not expanded here)' : '';
  throw new ArgumentError(`model: the folder '${path}' does not exist${home}`);
}

/** The folder of the file at a `file:` address. */
export const folderOf = (file: URL): string => fileURLToPath(new URL('.', file));

/**
 * The files of a folder. A folder inside it may not be a link that leads out of it; a file may be one, as in the hub's
 * cache. `name` stands in messages instead of the path.
 */
export function localFiles(folder: string, name: string = folder): ModelFiles {
  const root = resolve(folder);
  /** The place of a path on disk; throws when a link on the way leads out of the folder. */
  const locate = async (path: string): Promise<string> => {
    const file = join(root, checkPath(path, name));
    const [inside, top] = await Promise.all([realpath(dirname(file)).catch(() => undefined), realpath(root)]);
    if (inside !== undefined && inside !== top && !inside.startsWith(top.endsWith(sep) ? top : top + sep)) {
      throw new FormatError(`${name}: path '${path}' leads out of the folder through a link`);
    }
    return file;
  };
  const existing = async (path: string): Promise<string> => {
    const file = await locate(path);
    const found = await stat(file).catch(() => undefined);
    if (!found?.isFile()) throw new ArgumentError(`${name}: has no file '${path}'`);
    return file;
  };
  return {
    describe: () => name,
    exists: async (path) => {
      const file = await locate(path);
      return stat(file).then(
        (s) => s.isFile(),
        () => false,
      );
    },
    readText: async (path) => readFile(await existing(path), 'utf8'),
    source: async (path) => fileSource(await existing(path), `${name}/${path}`),
    list: async (inner) => {
      const at = inner === '' ? root : join(await locate(`${inner}/x`), '..');
      const entries = await readdir(at, { withFileTypes: true }).catch(() => []);
      return entries.filter((e) => !e.isDirectory()).map((e) => e.name);
    },
  };
}

/** A file by range. Opened for each read, so that there is nothing to close. */
export async function fileSource(path: string, name: string = path): Promise<ByteSource> {
  const { size } = await stat(path);
  return {
    name,
    bytes: size,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > size) {
        throw new RangeError(`${name}: bytes ${offset}+${length} are outside its ${size}`);
      }
      const out = new Uint8Array(length);
      const file = await open(path, 'r');
      try {
        await readInto(file, out, offset, name);
      } finally {
        await file.close();
      }
      return out;
    },
  };
}

async function readInto(file: FileHandle, out: Uint8Array, offset: number, name: string): Promise<void> {
  for (let at = 0; at < out.length;) {
    const { bytesRead } = await file.read(out, at, Math.min(out.length - at, maxRead), offset + at);
    if (bytesRead === 0)
      throw new FormatError(`${name}: ends at byte ${offset + at}; it was shortened while being read`);
    at += bytesRead;
  }
}
