// The hub's description of a model and its files. It decides where files are written and how they are checked, so every
// field is validated before use.

import { DarkroomError, FormatError } from '@darkroom/core';
import type { Answer } from './ask.ts';
import { checkPath } from './files.ts';
import { describeJson, isJsonObject } from './json.ts';

export interface ModelInfo {
  readonly commit: string;
  /** Bytes of each file by path; undefined if the hub does not tell. */
  readonly sizes: ReadonlyMap<string, number | undefined>;
  /** sha256 of large files (64 hex digits), git's hash of others (40), by path; where the hub tells them. */
  readonly hashes: ReadonlyMap<string, string>;
}

export interface RemoteFile {
  /** For messages: 'org/name/unet/model.safetensors'. */
  readonly name: string;
  readonly url: string;
  /** sha256 of a large file (64 hex digits), git's hash of a small one (40). The name of its blob, too. */
  readonly etag: string;
  readonly bytes: number;
}

export const isCommit = (text: unknown): text is string =>
  typeof text === 'string' && /^[0-9a-f]{40}$/.test(text);

/** Validates the description of a model. @throws FormatError naming the bad field. */
export function checkModelInfo(json: unknown, name: string): ModelInfo {
  const fail = (message: string): never => {
    throw new FormatError(`${name}: the hub's answer ${message}`);
  };
  if (!isJsonObject(json)) return fail(`is ${describeJson(json)}, not an object`);
  const { sha, siblings } = json;
  if (!isCommit(sha)) return fail(`names the commit ${describeJson(sha)}, which is not 40 hex digits`);
  if (!Array.isArray(siblings)) return fail(`lists the files as ${describeJson(siblings)}`);
  const sizes = new Map<string, number | undefined>();
  const hashes = new Map<string, string>();
  for (const sibling of siblings as readonly unknown[]) {
    const { rfilename: path, size, blobId, lfs } = isJsonObject(sibling) ? sibling : {};
    if (typeof path !== 'string')
      return fail(`lists a file without a name (${describeJson(path ?? sibling)})`);
    if (checkPath(path, `${name}: the hub's list of files`) !== path)
      return fail(`lists a file as ${describeJson(path)}`);
    if (size !== undefined && size !== null && !isSize(size))
      return fail(`gives ${describeJson(path)} the size ${describeJson(size)}`);
    sizes.set(path, size ?? undefined);
    const hash = (isJsonObject(lfs) ? lfs['sha256'] : undefined) ?? blobId ?? undefined;
    if (hash === undefined) continue;
    if (typeof hash !== 'string' || !isHash(hash))
      return fail(
        `gives ${describeJson(path)} the hash ${describeJson(hash)}, which is not 40 or 64 hex digits`,
      );
    hashes.set(path, hash);
  }
  return { commit: sha, sizes, hashes };
}

/** Hash and size from the headers of a file's address; undefined when they are not there. @throws for odd ones. */
export function checkFileHeaders(
  { headers, status }: Answer,
  name: string,
): { etag: string; bytes: number } | undefined {
  const own = (header: string): string | null => (status < 300 ? headers.get(header) : null);
  const etag = headers.get('x-linked-etag') ?? own('etag');
  const size = headers.get('x-linked-size') ?? own('content-length');
  if (etag === null || size === null) return undefined;
  const bytes = /^\d+$/.test(size) ? Number(size) : NaN;
  if (!isSize(bytes)) throw new FormatError(`${name}: the hub gave the size ${describeJson(size)}`);
  // 'W/"abc"' → 'abc'. Other forms cannot be checked and are refused.
  const plain = etag
    .replace(/^W\//i, '')
    .replace(/^"(.*)"$/, '$1')
    .toLowerCase();
  if (!isHash(plain))
    throw new FormatError(
      `${name}: the hub gave the etag ${describeJson(etag)}, which is no hash of 40 or 64 hex digits, so that the file could not be checked`,
    );
  return { etag: plain, bytes };
}

/** The address of a redirect. */
export function redirectOf({ headers, status }: Answer, at: string, name: string): URL | undefined {
  const location = headers.get('location');
  if (status < 300 || location === null) return undefined;
  if (!URL.canParse(location, at)) throw new DarkroomError(`${name}: the hub redirects to no address`);
  return new URL(location, at);
}

const isHash = (text: string): boolean => /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) >= 0;
