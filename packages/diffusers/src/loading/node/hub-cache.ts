// Where the hub's files lie on disk: the layout that Python's huggingface_hub shares,
// <cache>/models--org--name/{blobs/<etag>, refs/<revision>, snapshots/<commit>/<path> → blob}.

import { copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { getHFHubCachePath } from '@huggingface/hub';
import { ArgumentError } from '@darkroom/core';

export interface RepoCache {
  readonly blobs: string;
  snapshot(commit: string): string;
  /** The commit a branch or tag pointed to when it was last seen; a commit is its own. */
  commitOf(revision: string): Promise<string | undefined>;
  remember(revision: string, commit: string): Promise<void>;
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

export function repoCache(id: string, cacheDir: string = getHFHubCachePath()): RepoCache {
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
      if (isCommit(revision)) return;
      const ref = refOf(revision);
      await mkdir(dirname(ref), { recursive: true });
      await writeFile(ref, commit);
    },
  };
}

/** Makes snapshots/<commit>/<path> a link to a blob; a copy where the system allows no links. */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  await rm(pointer, { force: true });
  try {
    await symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return; // another process was faster
    await copyFile(blob, pointer);
  }
}

/** The token for requests: given, HF_TOKEN, or the file of `hf auth login`. Messages never quote it. */
export async function findToken(given: string | undefined): Promise<string | undefined> {
  const home =
    process.env['HF_HOME'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface');
  const file = process.env['HF_TOKEN_PATH'] ?? join(home, 'token');
  const token = (given ?? process.env['HF_TOKEN'] ?? (await readFile(file, 'utf8').catch(() => ''))).trim();
  if (token === '') return undefined;
  // A bad header value would be quoted by fetch's own error.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ArgumentError('token: the hub access token holds characters that no token has');
  return token;
}
