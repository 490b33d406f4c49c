// The hub's cache on disk, in the layout of Python's huggingface_hub:
// <cache>/models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<path> → blob}.

import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { ArgumentError, FormatError } from '@darkroom/core';
import { cannotWrite, writeFileWhole } from '@darkroom/core/node';
import { checkPath } from '../files.ts';
import type { ModelFiles } from '../files.ts';
import { isCommit } from '../hub-answers.ts';
import { localFiles } from './local-files.ts';

export interface RepoCache {
  readonly blobs: string;
  snapshot(commit: string): string;
  /** The commit of a branch or tag at the last request; a commit's own id. */
  commitOf(revision: string): Promise<string | undefined>;
  remember(revision: string, commit: string): Promise<void>;
}

/** The folder of Hugging Face's tools: HF_HOME, else `huggingface` in the user's cache. */
const home = (): string =>
  process.env['HF_HOME'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface');

/** Where Python's tools keep downloads; its second variable is the older name of the first. */
export const cachePath = (): string =>
  process.env['HF_HUB_CACHE'] ?? process.env['HUGGINGFACE_HUB_CACHE'] ?? join(home(), 'hub');

export function repoCache(id: string, cacheDir: string = cachePath()): RepoCache {
  const root = join(cacheDir, `models--${id.replaceAll('/', '--')}`);
  const refOf = (revision: string): string => {
    if (/(^|\/)\.\.?(\/|$)|^\/|[\\\0:]/.test(revision))
      throw new ArgumentError(`revision: '${revision}' is not a branch, tag or commit`);
    return join(root, 'refs', ...revision.split('/'));
  };
  return {
    blobs: join(root, 'blobs'),
    snapshot: (commit) => join(root, 'snapshots', commit),
    async commitOf(revision) {
      if (isCommit(revision)) return revision;
      const text = await readFile(refOf(revision), 'utf8').catch(() => '');
      return isCommit(text.trim()) ? text.trim() : undefined;
    },
    async remember(revision, commit) {
      if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
      await writeFileWhole(refOf(revision), commit);
    },
  };
}

/** The files of a snapshot. Small files are named by their git hash, which is checked at each read. */
export function snapshotFiles(folder: string, name: string): ModelFiles {
  const files = localFiles(folder, name);
  return {
    ...files,
    readText: async (path) => {
      const text = await files.readText(path);
      const blob = await realpath(join(folder, checkPath(path, name)));
      if (!isCommit(basename(blob))) return text; // a copy; or large, and checked when it came
      const data = await readFile(blob);
      const hash = createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
      if (hash === basename(blob)) return text;
      throw new FormatError(
        `${name}/${path}: its copy in the cache is damaged (git hash ${hash}); delete ${blob} to load it anew`,
      );
    },
  };
}

/** Makes snapshots/<commit>/<path> a link to a blob, in one step; a copy where the system allows no links. */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  const [there, wanted] = await Promise.all([realpath(pointer).catch(() => undefined), realpath(blob)]);
  if (there === wanted) return;
  try {
    mkdirSync(dirname(pointer), { recursive: true });
    if (linked(relative(dirname(pointer), blob), pointer)) return;
    rmSync(pointer, { force: true });
    await writeFileWhole(pointer, createReadStream(blob) as AsyncIterable<Uint8Array>);
  } catch (error) {
    throw cannotWrite(pointer, error);
  }
}

/** False where the system has no links, or not for us. */
function linked(target: string, pointer: string): boolean {
  const link = join(dirname(pointer), `.darkroom-${randomUUID()}.tmp`);
  try {
    symlinkSync(target, link);
  } catch (error) {
    if (['EPERM', 'ENOSYS', 'ENOTSUP', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return false;
    throw error;
  }
  try {
    renameSync(link, pointer);
    return true;
  } finally {
    rmSync(link, { force: true });
  }
}

/** The token for requests: given, HF_TOKEN, or the file of `hf auth login`. Messages never quote it. */
export async function findToken(given: string | undefined): Promise<string | undefined> {
  const file = process.env['HF_TOKEN_PATH'] ?? join(home(), 'token');
  const token = (given ?? process.env['HF_TOKEN'] ?? (await readFile(file, 'utf8').catch(() => ''))).trim();
  if (token === '') return undefined;
  // A bad header value would be quoted by fetch's own error.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ArgumentError('token: the hub access token holds characters that no token has');
  return token;
}
