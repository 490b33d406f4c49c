// One file from the hub into the cache: resumed where an earlier try stopped, checked, and only then given its name.
// The etag of a large file is its sha256, that of a small one its git blob hash: what does not match is deleted.

import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DarkroomError, FormatError } from '@darkroom/core';

export interface RemoteFile {
  /** For messages: 'org/name/unet/model.safetensors'. */
  readonly name: string;
  readonly url: string;
  readonly etag: string;
  readonly bytes: number;
}

export interface DownloadOptions {
  readonly fetch: typeof fetch;
  readonly onProgress?: ((received: number, total: number) => void) | undefined;
}

/** Tries in a row that may fail without a byte of progress. */
const maxTries = 4;

/** A failure that another try cannot mend. */
class Refused extends DarkroomError {}

/** Downloads to `blob` by way of `blob`.incomplete, which stays when the connection fails and goes when the hash does. */
export async function download(file: RemoteFile, blob: string, options: DownloadOptions): Promise<void> {
  const partial = `${blob}.incomplete`;
  await mkdir(dirname(blob), { recursive: true });
  let fruitless = 0;
  for (;;) {
    const before = await sizeOf(partial);
    try {
      const hash = await fetchRest(file, partial, options);
      await check(file, hash, partial);
      await rename(partial, blob);
      return;
    } catch (error) {
      if (error instanceof Refused || error instanceof FormatError) throw error;
      fruitless = (await sizeOf(partial)) > before ? 0 : fruitless + 1;
      if (fruitless >= maxTries) {
        const cause = (error as Error).cause ?? error;
        throw new DarkroomError(
          `${file.name}: download stopped at ${await sizeOf(partial)} of ${file.bytes} bytes (${(cause as Error).message}); run again to resume`,
        );
      }
      await new Promise((done) => setTimeout(done, 100 * 2 ** fruitless));
    }
  }
}

/** Appends what is missing; returns the hash of the whole. Rejects when the stream ends early. */
async function fetchRest(file: RemoteFile, partial: string, options: DownloadOptions): Promise<Hash> {
  let have = await sizeOf(partial);
  if (have > file.bytes) have = 0;
  const hash = startHash(file);
  if (have === file.bytes && have > 0) {
    await hashFile(partial, hash);
    return hash;
  }
  const response = await options.fetch(file.url, {
    headers: { 'Accept-Encoding': 'identity', ...(have > 0 && { Range: `bytes=${have}-` }) },
  });
  const resumed = response.status === 206 && startOf(response) === have;
  if (!resumed) {
    if (response.status === 206 || response.status === 416) {
      await response.body?.cancel();
      await rm(partial, { force: true });
      throw new DarkroomError(`the server answered range ${have}- with status ${response.status}`);
    }
    if (!response.ok) {
      await response.body?.cancel();
      const message = `${file.name}: the hub answered with status ${response.status}`;
      throw response.status >= 500 || response.status === 429
        ? new DarkroomError(message)
        : new Refused(message);
    }
    have = 0; // the whole file comes: the server does not resume
  }
  if (have > 0) await hashFile(partial, hash);
  const out = await open(partial, have > 0 ? 'r+' : 'w');
  try {
    let at = have;
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      if (at + chunk.length > file.bytes)
        throw new Refused(`${file.name}: more than its ${file.bytes} bytes arrived`);
      for (let written = 0; written < chunk.length;) {
        written += (await out.write(chunk, written, chunk.length - written, at + written)).bytesWritten;
      }
      hash.update(chunk);
      at += chunk.length;
      options.onProgress?.(at, file.bytes);
    }
    if (at !== file.bytes) throw new DarkroomError(`the connection ended at byte ${at}`);
  } finally {
    await out.close();
  }
  return hash;
}

/** First byte of a partial answer. */
function startOf(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? NaN);
}

function startHash(file: RemoteFile): Hash {
  if (file.etag.length === 64) return createHash('sha256');
  return createHash('sha1').update(`blob ${file.bytes}\0`); // git's hash of a file
}

async function hashFile(path: string, hash: Hash): Promise<void> {
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
}

async function check(file: RemoteFile, hash: Hash, partial: string): Promise<void> {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(file.etag)) return; // a server of another kind: only the size is known
  const got = hash.digest('hex');
  if (got === file.etag) return;
  await rm(partial, { force: true });
  const kind = file.etag.length === 64 ? 'sha256' : 'git hash';
  throw new FormatError(
    `${file.name}: ${kind} of the download is ${got} but the hub says ${file.etag}; the file was deleted`,
  );
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (s) => s.size,
    () => 0,
  );
}
