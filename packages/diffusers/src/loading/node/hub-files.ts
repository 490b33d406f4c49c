// A hub repository as ModelFiles: files are downloaded when they are first asked for, into the cache that Python's
// tools share. @huggingface/hub gives the listing and the cache's place; it neither resumes nor checks downloads, so
// download.ts does.

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HubApiError, modelInfo } from '@huggingface/hub';
import { ArgumentError, DarkroomError, log } from '@darkroom/core';
import { checkPath } from '../files.ts';
import type { ModelFiles } from '../files.ts';
import type { HubOptions } from '../hub.ts';
import { download } from './download.ts';
import type { RemoteFile } from './download.ts';
import { findToken, linkBlob, repoCache } from './hub-cache.ts';
import type { RepoCache } from './hub-cache.ts';
import { isFolder, localFiles } from './local-files.ts';

interface Remote {
  readonly endpoint: string;
  readonly fetch: typeof fetch;
}

/** Opens `id` at a revision; resolves the revision once, so that all files come from one commit. */
export async function hubFiles(id: string, options: HubOptions = {}): Promise<ModelFiles> {
  const { revision = 'main', localFilesOnly = process.env['HF_HUB_OFFLINE'] === '1' } = options;
  const cache = repoCache(id, options.cacheDir);
  const name = revision === 'main' ? id : `${id}@${revision}`;
  if (localFilesOnly) return cached(name, cache, revision, 'and localFilesOnly is set');
  const remote = await connect(options);
  let info: { readonly sha: string; readonly paths: readonly string[] };
  try {
    info = await resolveRevision(id, revision, remote);
  } catch (error) {
    const commit = await cache.commitOf(revision);
    if (error instanceof ArgumentError || !commit || !(await isFolder(cache.snapshot(commit)))) throw error;
    log.warn(`${name}: the hub cannot be reached, the copy in the cache is used`);
    return localFiles(cache.snapshot(commit), name);
  }
  await cache.remember(revision, info.sha);
  return new HubFiles(id, name, info, cache, remote, options.onDownload);
}

async function cached(name: string, cache: RepoCache, revision: string, why: string): Promise<ModelFiles> {
  const commit = await cache.commitOf(revision);
  if (commit && (await isFolder(cache.snapshot(commit)))) return localFiles(cache.snapshot(commit), name);
  throw new ArgumentError(`${name}: is not in the cache (${cache.snapshot(commit ?? '<commit>')}), ${why}`);
}

async function connect(options: HubOptions): Promise<Remote> {
  const endpoint = (options.endpoint ?? process.env['HF_ENDPOINT'] ?? 'https://huggingface.co').replace(
    /\/+$/,
    '',
  );
  if (!URL.canParse(endpoint))
    throw new ArgumentError(`endpoint: must be an address like https://huggingface.co, got '${endpoint}'`);
  const token = await findToken(options.token);
  const { origin } = new URL(endpoint);
  return {
    endpoint,
    fetch: (input, init) => {
      const headers = new Headers(init?.headers);
      // Only ever to the hub itself: fetch drops it on the way to the store that a download is redirected to.
      if (token !== undefined && new URL(input as string | URL).origin === origin)
        headers.set('Authorization', `Bearer ${token}`);
      return fetch(input, { ...init, headers });
    },
  };
}

/** The commit of a revision and its files. */
async function resolveRevision(
  id: string,
  revision: string,
  remote: Remote,
): Promise<{ sha: string; paths: readonly string[] }> {
  let info: { sha?: string; filePaths?: string[] };
  try {
    info = await modelInfo({
      name: id,
      revision,
      additionalFields: ['sha', 'filePaths'],
      hubUrl: remote.endpoint,
      fetch: remote.fetch,
    });
  } catch (error) {
    if (error instanceof HubApiError) throw refusal(`${id}@${revision}`, error.statusCode);
    throw new DarkroomError(`${id}: the hub at ${remote.endpoint} cannot be reached (${reason(error)})`);
  }
  if (typeof info.sha !== 'string' || !Array.isArray(info.filePaths)) {
    throw new DarkroomError(`${id}: ${remote.endpoint} did not say which files revision '${revision}' has`);
  }
  return { sha: info.sha, paths: info.filePaths };
}

function refusal(what: string, status: number): Error {
  if (status === 401 || status === 403) {
    return new ArgumentError(
      `${what}: the hub refuses access (status ${status}); it does not exist, or needs a token (HF_TOKEN) that may read it`,
    );
  }
  if (status === 404) return new ArgumentError(`${what}: is not on the hub (status 404)`);
  return new DarkroomError(`${what}: the hub answered with status ${status}`);
}

/** fetch wraps the reason of a failed connection. */
function reason(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || message : message;
}

/** Downloads under way in this process, by blob: two components may share a file. */
const underWay = new Map<string, Promise<void>>();

class HubFiles implements ModelFiles {
  readonly #id: string;
  readonly #name: string;
  readonly #commit: string;
  readonly #paths: ReadonlySet<string>;
  readonly #cache: RepoCache;
  readonly #remote: Remote;
  readonly #local: ModelFiles;
  readonly #onDownload: HubOptions['onDownload'];

  constructor(
    id: string,
    name: string,
    info: { readonly sha: string; readonly paths: readonly string[] },
    cache: RepoCache,
    remote: Remote,
    onDownload: HubOptions['onDownload'],
  ) {
    this.#id = id;
    this.#name = name;
    this.#commit = info.sha;
    this.#paths = new Set(info.paths);
    this.#cache = cache;
    this.#remote = remote;
    this.#onDownload = onDownload;
    this.#local = localFiles(cache.snapshot(info.sha), name);
  }

  describe(): string {
    return this.#name;
  }

  async exists(path: string): Promise<boolean> {
    return this.#paths.has(checkPath(path, this.#name));
  }

  async list(folder: string): Promise<readonly string[]> {
    const prefix = folder === '' ? '' : `${checkPath(folder, this.#name)}/`;
    return [...this.#paths]
      .filter((p) => p.startsWith(prefix) && !p.slice(prefix.length).includes('/'))
      .map((p) => p.slice(prefix.length));
  }

  async readText(path: string): Promise<string> {
    await this.#ensure(path);
    return this.#local.readText(path);
  }

  async source(path: string): ReturnType<ModelFiles['source']> {
    await this.#ensure(path);
    return this.#local.source(path);
  }

  /** Downloads a file unless the snapshot has it. */
  async #ensure(given: string): Promise<void> {
    const path = checkPath(given, this.#name);
    if (!this.#paths.has(path)) throw new ArgumentError(`${this.#name}: has no file '${path}'`);
    const pointer = join(this.#cache.snapshot(this.#commit), ...path.split('/'));
    if (await isFile(pointer)) return;
    const file = await this.#describe(path);
    const blob = join(this.#cache.blobs, file.etag);
    if (!(await isFile(blob))) await this.#download(path, file, blob);
    await linkBlob(blob, pointer);
  }

  async #download(path: string, file: RemoteFile, blob: string): Promise<void> {
    const known = underWay.get(blob);
    if (known) return known;
    const onProgress =
      this.#onDownload && ((received: number, total: number) => this.#onDownload!(path, received, total));
    const work = download(file, blob, { fetch: this.#remote.fetch, onProgress });
    underWay.set(blob, work);
    try {
      await work;
    } finally {
      underWay.delete(blob);
    }
  }

  /** Size and hash of a file, from the headers of its address. Redirects to a store are not followed: they lose them. */
  async #describe(path: string): Promise<RemoteFile> {
    const name = `${this.#name}/${path}`;
    const url = `${this.#remote.endpoint}/${this.#id}/resolve/${this.#commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
    let at = url;
    for (let hops = 0; hops < 5; hops++) {
      let response: Response;
      try {
        response = await this.#remote.fetch(at, {
          method: 'HEAD',
          redirect: 'manual',
          headers: { 'Accept-Encoding': 'identity' },
        });
      } catch (error) {
        throw new DarkroomError(
          `${name}: the hub at ${this.#remote.endpoint} cannot be reached (${reason(error)})`,
        );
      }
      const { headers, status } = response;
      if (status >= 400) throw refusal(name, status);
      const etag = headers.get('x-linked-etag') ?? (status < 300 ? headers.get('etag') : null);
      const bytes = headers.get('x-linked-size') ?? (status < 300 ? headers.get('content-length') : null);
      const location = headers.get('location');
      if (etag !== null && bytes !== null)
        return { name, url, etag: cleanEtag(etag, name), bytes: Number(bytes) };
      if (status < 300 || location === null) break;
      const next = new URL(location, at);
      if (next.origin !== new URL(url).origin) break; // a store's own etag says nothing about the file
      at = next.href;
    }
    throw new DarkroomError(`${name}: the hub gave neither hash nor size`);
  }
}

/** 'W/"abc"' → 'abc'. It becomes a file name, so nothing but a plain word passes. */
function cleanEtag(etag: string, name: string): string {
  const plain = etag.replace(/^W\//, '').replace(/^"(.*)"$/, '$1');
  if (!/^[\w-][\w.-]*$/.test(plain)) throw new DarkroomError(`${name}: the hub gave an etag that is no hash`);
  return plain;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isFile(),
    () => false,
  );
}
