// A checkpoint below a web address, as a page loads it from its own server. Reads weights by range if the server
// supports ranges, else whole. No hub ids (loading/hub.ts), no cache beyond the browser's own, no listing of folders.

import { ArgumentError, DarkroomError, FormatError, memorySource } from '@darkroom/core';
import type { ByteSource } from '@darkroom/core';
import { ask, reasonOf, withoutPassword } from './ask.ts';
import type { Answer } from './ask.ts';
import { checkPath, namesIn } from './files.ts';
import type { ModelAddresses, ModelFiles } from './files.ts';

/** Options of httpFiles. */
export interface HttpOptions {
  /** Seconds to wait for an answer, and for each further KiB of it; default 10. */
  readonly timeout?: number;
  /** Sent with each request, as `{ authorization: 'Bearer …' }`. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Bytes per range request at least: weights are read tensor by tensor, many of them small. */
const readAhead = 4 * 2 ** 20;
/** Bytes of a text file at most; configs and vocabularies are far smaller. */
const mostText = 64 * 2 ** 20;
/** Bytes of a file without range requests at most: it must fit in memory. */
const mostWhole = 2 ** 31 - 1;

/** Requests a file. */
type Request = (url: string, init?: { method?: 'HEAD'; range?: string }) => Promise<Answer>;

/**
 * The files below `model`, an absolute http(s) address of a folder; or the files at these addresses, by path, as a
 * bundler gives files their own.
 * @throws ArgumentError for other addresses
 */
export function httpFiles(
  model: string | URL | ModelAddresses,
  { timeout = 10, headers = {} }: HttpOptions = {},
): ModelFiles {
  const isFolder = typeof model === 'string' || model instanceof URL;
  const { name, locate } = isFolder ? inFolder(folderUrl(model)) : byPath(model);
  if (!(timeout > 0 && timeout <= 86_400))
    throw new ArgumentError(
      `httpFiles: timeout must be seconds, more than 0 and at most 86400, got ${timeout}`,
    );
  const request = requestWithin(timeout, headers);
  const found = (path: string): string => {
    const url = locate(path);
    if (url === undefined) throw new ArgumentError(`${name}: has no file '${path}'`);
    return url;
  };
  return {
    describe: () => name,
    exists: async (path) => {
      const url = locate(path);
      // Addresses by path are all that there is: nothing is asked.
      if (url === undefined || !isFolder) return url !== undefined;
      const head = await request(url, { method: 'HEAD' });
      if (!(head.status === 405 || head.status === 501)) return isFile(head, url);
      const body = await request(url, { range: 'bytes=0-0' });
      await body.cancel();
      return body.status === 416 || isFile(body, url);
    },
    readText: async (path) => {
      const url = found(path);
      const answer = await checked(await request(url), url);
      return new TextDecoder().decode(await bytesOf(answer, url, mostText));
    },
    source: async (path) => openSource(found(path), request),
    ...(!isFolder && { list: async (folder: string) => namesIn(folder, Object.keys(model), name) }),
  };
}

/** Says where a file is; undefined: there is none. */
interface Places {
  readonly name: string;
  readonly locate: (path: string) => string | undefined;
}

function inFolder(base: string): Places {
  const name = base.replace(/\/$/, '');
  return {
    name,
    locate: (path) => base + checkPath(path, name).split('/').map(encodeURIComponent).join('/'),
  };
}

function byPath(addresses: ModelAddresses): Places {
  const urls = Object.entries(addresses).map(
    ([path, url]) => [checkPath(path, 'model'), String(url)] as const,
  );
  const known = new Map(urls);
  // Bundlers write small files into the program, as data: addresses, which tell no name.
  const isName = (url: string | undefined): boolean => url !== undefined && /^https?:/.test(url);
  const name =
    [known.get('model_index.json'), ...known.values()].find(isName) ?? 'model (addresses of no http)';
  return { name, locate: (path) => known.get(checkPath(path, name)) };
}

function folderUrl(baseUrl: string | URL): string {
  const text = String(baseUrl);
  const fail = (rule: string): never => {
    throw new ArgumentError(`httpFiles: the address of the model ${rule}, got '${withoutPassword(text)}'`);
  };
  if (!URL.canParse(text)) return fail("must be absolute, as in 'https://example.org/models/emoji-64/'");
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol)) fail('must be http or https');
  if (url.search || url.hash) fail('must name a folder, without ? and #');
  // fetch would refuse a password too, but repeat it in its message.
  if (url.username || url.password) throw new ArgumentError('httpFiles: the address must hold no password');
  return url.href.endsWith('/') ? url.href : `${url.href}/`;
}

const requestWithin =
  (seconds: number, given: NonNullable<HttpOptions['headers']>): Request =>
  async (url, { method = 'GET', range } = {}) => {
    try {
      const headers = range === undefined ? given : { ...given, range };
      return await ask(url, { method, headers }, { seconds });
    } catch (error) {
      throw new FormatError(`${url}: could not be fetched: ${reasonOf(error)}`);
    }
  };

/** True if the answer is the file: single-page apps answer a missing path with their web page and status 200. */
function isFile(response: Answer, url: string): boolean {
  if (response.ok) return !(isWebPage(response) && !/\.html?$/.test(url));
  if (response.status === 404 || response.status === 410) return false;
  throw new FormatError(`${url}: HTTP ${status(response)}`);
}

const isWebPage = (response: Answer): boolean =>
  response.headers.get('content-type')?.startsWith('text/html') ?? false;
const status = (response: Answer): string => `${response.status} ${response.statusText}`.trim();
/** The answer, if it is the file; rejects if the file is missing or the server fails. */
async function checked(response: Answer, url: string): Promise<Answer> {
  try {
    if (isFile(response, url)) return response;
  } catch (error) {
    await response.cancel();
    throw error;
  }
  await response.cancel();
  const answer = response.ok ? `${status(response)} with a web page instead` : status(response);
  throw new ArgumentError(`${url}: no such file (HTTP ${answer})`);
}

async function bytesOf(response: Answer, url: string, most: number): Promise<Uint8Array> {
  try {
    return await response.bytes(most, url);
  } catch (error) {
    if (error instanceof DarkroomError) throw error;
    throw new FormatError(`${url}: the answer broke off: ${reasonOf(error)}`);
  }
}

/**
 * Opens a file by a range request for its first bytes, whose answer tells the file's size and if ranges are supported.
 */
async function openSource(url: string, request: Request): Promise<ByteSource> {
  const first = await request(url, { range: `bytes=0-${readAhead - 1}` });
  if (first.status === 416) {
    await first.cancel(); // the file is empty
  } else {
    const most = first.status === 206 ? readAhead : mostWhole;
    const bytes = await bytesOf(await checked(first, url), url, most);
    if (first.status !== 206) return memorySource(bytes, url);
    const total = Number(/^bytes 0-\d+\/(\d+)$/.exec(first.headers.get('content-range') ?? '')?.[1] ?? NaN);
    if (Number.isSafeInteger(total) && bytes.length === Math.min(total, readAhead))
      return rangeSource(url, total, bytes, request);
  }
  // Without a readable Content-Range (hidden from pages of other origins unless the server allows it), read the whole
  // file.
  return memorySource(await bytesOf(await checked(await request(url), url), url, mostWhole), url);
}

/** Reads a file by ranges of at least `readAhead` bytes. Concurrent reads wait for each other to share a range. */
function rangeSource(url: string, total: number, first: Uint8Array, request: Request): ByteSource {
  let at = 0;
  let held = first;
  const fetchFrom = async (offset: number, length: number): Promise<void> => {
    const end = Math.min(total, offset + Math.max(length, readAhead));
    const response = await checked(await request(url, { range: `bytes=${offset}-${end - 1}` }), url);
    const bytes = await bytesOf(response, url, response.status === 200 ? total : end - offset);
    const whole = response.status === 200;
    const want = whole ? total : end - offset;
    const range = response.headers.get('content-range');
    const moved = !whole && range !== null && range !== `bytes ${offset}-${end - 1}/${total}`;
    if (moved || bytes.length !== want) {
      throw new FormatError(
        `${url}: asked for bytes ${offset}-${end - 1} of ${total}, got ${bytes.length} (HTTP ${status(response)}${range === null ? '' : `, ${range}`}); the file changed, or the server is wrong`,
      );
    }
    at = whole ? 0 : offset;
    held = bytes;
  };
  let before: Promise<unknown> = Promise.resolve();
  return {
    name: url,
    bytes: total,
    read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > total)
        return Promise.reject(new RangeError(`${url}: bytes ${offset}+${length} are outside its ${total}`));
      const result = before.then(async () => {
        if (offset < at || offset + length > at + held.length) await fetchFrom(offset, length);
        return held.subarray(offset - at, offset - at + length);
      });
      before = result.catch(() => {});
      return result;
    },
  };
}
