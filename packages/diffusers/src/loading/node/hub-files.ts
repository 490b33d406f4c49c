// A hub repository as ModelFiles: files are downloaded at their first use, into the cache shared with Python's tools.
// The hub's answers are checked in hub-answers.ts, downloaded bytes in download.ts.

import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, DarkroomError, log } from '@darkroom/core';
import { checkPath, namesIn } from '../files.ts';
import type { ModelFiles } from '../files.ts';
import type { HubOptions } from '../hub-options.ts';
import { UnreachableError } from '../persist.ts';
import { download, sizeOf } from './download.ts';
import { checkFileHeaders, checkModelInfo, redirectOf } from '../hub-answers.ts';
import type { ModelInfo, RemoteFile } from '../hub-answers.ts';
import { linkBlob, repoCache, snapshotFiles } from './hub-cache.ts';
import type { RepoCache } from './hub-cache.ts';
import { connect } from './hub-remote.ts';
import type { Remote } from './hub-remote.ts';
import { isFolder } from './local-files.ts';

/** HF_HUB_OFFLINE, as Python's client reads it. */
const isOffline = (): boolean => /^(1|on|yes|true)$/i.test(process.env['HF_HUB_OFFLINE'] ?? '');

/** Opens `id` at a revision; resolves the revision once, so that all files come from one commit. */
export async function hubFiles(id: string, options: HubOptions = {}): Promise<ModelFiles> {
  const { revision = 'main', localFilesOnly = isOffline() } = options;
  const cache = repoCache(id, options.cacheDir);
  const name = revision === 'main' ? id : `${id}@${revision}`;
  if (localFilesOnly) {
    const why = options.localFilesOnly ? 'localFilesOnly is set' : 'HF_HUB_OFFLINE is set';
    return cached(name, cache, revision, `and ${why}`);
  }
  const remote = await connect(options);
  let info: ModelInfo;
  try {
    const url = `${remote.endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
    info = checkModelInfo(await remote.json(url, name), name);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    const commit = await cache.commitOf(revision);
    if (!commit || !(await isFolder(cache.snapshot(commit))))
      throw new DarkroomError(`${error.message}; a folder '${id}' is not here either`);
    log.warn(`${name}: the hub cannot be reached, the copy in the cache is used`);
    return snapshotFiles(cache.snapshot(commit), name);
  }
  await cache.remember(revision, info.commit).catch((error: Error) => log.warn(`${name}: ${error.message}`));
  return new HubFiles(id, name, info, cache, remote, options.onDownload);
}

async function cached(name: string, cache: RepoCache, revision: string, why: string): Promise<ModelFiles> {
  const commit = await cache.commitOf(revision);
  if (commit && (await isFolder(cache.snapshot(commit)))) return snapshotFiles(cache.snapshot(commit), name);
  throw new ArgumentError(`${name}: is not in the cache (${cache.snapshot(commit ?? '<commit>')}), ${why}`);
}

const isLink = async (path: string): Promise<boolean> => (await lstat(path)).isSymbolicLink();

/** Downloads under way in this process, by blob: two components may share a file. */
const underWay = new Map<string, Promise<void>>();

class HubFiles implements ModelFiles {
  readonly #id: string;
  readonly #name: string;
  readonly #commit: string;
  readonly #sizes: ModelInfo['sizes'];
  readonly #cache: RepoCache;
  readonly #remote: Remote;
  readonly #local: ModelFiles;
  readonly #onDownload: HubOptions['onDownload'];

  constructor(
    id: string,
    name: string,
    info: ModelInfo,
    cache: RepoCache,
    remote: Remote,
    onDownload: HubOptions['onDownload'],
  ) {
    this.#id = id;
    this.#name = name;
    this.#commit = info.commit;
    this.#sizes = info.sizes;
    this.#cache = cache;
    this.#remote = remote;
    this.#onDownload = onDownload;
    this.#local = snapshotFiles(cache.snapshot(info.commit), name);
  }

  describe(): string {
    return this.#name;
  }

  async exists(path: string): Promise<boolean> {
    return this.#sizes.has(checkPath(path, this.#name));
  }

  async list(folder: string): Promise<readonly string[]> {
    return namesIn(folder, [...this.#sizes.keys()], this.#name);
  }

  async readText(path: string): Promise<string> {
    await this.#ensure(path);
    return this.#local.readText(path);
  }

  async source(path: string): ReturnType<ModelFiles['source']> {
    await this.#ensure(path);
    return this.#local.source(path);
  }

  /** Downloads a file unless the cache has it, in the size that the hub says. */
  async #ensure(given: string): Promise<void> {
    const path = checkPath(given, this.#name);
    if (!this.#sizes.has(path)) throw new ArgumentError(`${this.#name}: has no file '${path}'`);
    const pointer = join(this.#cache.snapshot(this.#commit), ...path.split('/'));
    const [size, there] = [this.#sizes.get(path), await sizeOf(pointer)];
    if (size !== undefined && size === there) return;
    let file: RemoteFile;
    try {
      file = await this.#describe(path);
    } catch (error) {
      // The hub cannot tell the file's size now: use the cached file unchecked, as offline.
      if (error instanceof UnreachableError && size === undefined && there !== undefined) return;
      throw error;
    }
    if (there === file.bytes && !(await isLink(pointer))) return; // a copy, where the system has no links
    const blob = join(this.#cache.blobs, file.etag);
    if ((await sizeOf(blob)) !== file.bytes) await this.#download(path, file, blob);
    await linkBlob(blob, pointer);
  }

  async #download(path: string, file: RemoteFile, blob: string): Promise<void> {
    const known = underWay.get(blob);
    if (known) return known;
    const onProgress =
      this.#onDownload && ((received: number, total: number) => this.#onDownload!(path, received, total));
    const work = download(file, blob, this.#remote, onProgress);
    underWay.set(blob, work);
    try {
      await work;
    } finally {
      underWay.delete(blob);
    }
  }

  /**
   * Size and hash of a file, from the headers of its address. Redirects to a store are not followed: they lose them.
   */
  async #describe(path: string): Promise<RemoteFile> {
    const name = `${this.#name}/${path}`;
    const url = `${this.#remote.endpoint}/${this.#id}/resolve/${this.#commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
    let at = url;
    for (let hops = 0; hops < 5; hops++) {
      const answer = await this.#remote.head(at, name);
      const known = checkFileHeaders(answer, name);
      if (known) return { name, url, ...known };
      const next = redirectOf(answer, at, name);
      if (next?.origin !== new URL(url).origin) break; // a store's own etag says nothing about the file
      at = next.href;
    }
    throw new DarkroomError(`${name}: the hub gave neither hash nor size`);
  }
}
