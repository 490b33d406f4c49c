// Opens a model in a page: a hub id, an address of a folder, or addresses of files; through the browser's cache.

import { ArgumentError, DarkroomError, FormatError, describe, log } from '@darkroom/core';
import { ask, reasonOf } from '../ask.ts';
import type { ModelAddresses, ModelFiles } from '../files.ts';
import { httpFiles } from '../http-files.ts';
import { checkModelInfo } from '../hub-answers.ts';
import type { ModelInfo } from '../hub-answers.ts';
import type { HubOptions } from '../hub-options.ts';
import { persist, refusal, UnreachableError } from '../persist.ts';
import type { WebFile } from './download.ts';
import { keptFiles } from './kept-files.ts';
import { PageCache } from './page-cache.ts';

const defaultBytes = 16 * 2 ** 30;
/** Bytes of the description of a repository at most. */
const mostJsonBytes = 32 * 2 ** 20;

/** The cache that the options ask for; undefined where none is wanted or to be had. @throws ArgumentError */
async function cacheFor({ cacheBytes = defaultBytes }: HubOptions): Promise<PageCache | undefined> {
  if (typeof cacheBytes !== 'number' || !(cacheBytes >= 0))
    throw new ArgumentError(`cacheBytes: must be a number of bytes >= 0, got ${describe(cacheBytes)}`);
  return PageCache.open(cacheBytes);
}

const secondsOf = ({ downloadTimeout: timeout = 10 }: HubOptions): number => timeout;

/** The model below an absolute http(s) address, or at the addresses of its files. @throws ArgumentError */
export async function openWebAddresses(
  model: string | ModelAddresses,
  options: HubOptions,
): Promise<ModelFiles> {
  const plain = httpFiles(model, { timeout: secondsOf(options) });
  const cache = await cacheFor(options);
  if (!cache) return plain;
  const name = plain.describe();
  const addresses = typeof model === 'string' ? undefined : new Map(Object.entries(model));
  const urlOf = (path: string): string | undefined =>
    addresses ? addresses.get(path)?.href : `${name}/${path.split('/').map(encodeURIComponent).join('/')}`;
  const find = (path: string): WebFile | undefined => {
    const url = urlOf(path);
    // Bundlers write small files into the program, as data: addresses.
    if (url === undefined || !/^https?:/.test(url)) return undefined;
    return { model: name, path, key: url, url };
  };
  return keptFiles({ name, find, plain, listed: addresses !== undefined }, cache, keptOptions(options));
}

const keptOptions = (options: HubOptions): Parameters<typeof keptFiles>[2] => ({
  seconds: secondsOf(options),
  onDownload: options.onDownload,
});

/** A hub's model at one commit. Its files are listed by one request, and only listed files are asked for. */
export async function openHubModel(id: string, options: HubOptions): Promise<ModelFiles> {
  const { revision = 'main', endpoint = 'https://huggingface.co', token, localFilesOnly } = options;
  const name = revision === 'main' ? id : `${id}@${revision}`;
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new ArgumentError('endpoint: must be an address like https://huggingface.co');
  const hub = endpoint.replace(/\/+$/, '');
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const cache = await cacheFor(options);
  const keyOf = (path: string): string => `${hub}/${name}/${path}`;
  if (localFilesOnly) return offline(name, cache, options, 'localFilesOnly is set');
  let info: ModelInfo;
  try {
    info = await describeModel(`${hub}/api/models/${id}/revision/${encodeURIComponent(revision)}`, name, {
      headers,
      seconds: options.etagTimeout ?? 10,
    });
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    const kept = await offline(name, cache, options, error.message);
    log.warn(`${name}: the hub cannot be reached, the copy in the browser is used`);
    return kept;
  }
  const { commit, sizes, hashes } = info;
  const urlOf = (path: string): string =>
    `${hub}/${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
  const urls = Object.fromEntries([...sizes.keys()].map((path) => [path, new URL(urlOf(path))]));
  const plain = named(name, httpFiles(urls, { headers, timeout: secondsOf(options) }));
  if (!cache) return plain;
  const find = (path: string): WebFile | undefined => {
    if (!sizes.has(path)) return undefined;
    const hash = hashes.get(path);
    const known = { version: hash ?? commit, bytes: sizes.get(path), hash };
    return { model: name, path, key: keyOf(path), url: urlOf(path), headers, known };
  };
  return keptFiles({ name, find, plain, listed: true }, cache, keptOptions(options));
}

const named = (name: string, files: ModelFiles): ModelFiles => ({ ...files, describe: () => name });

/** What the browser keeps of a hub's model, without asking the hub. @throws DarkroomError if it keeps nothing */
async function offline(
  name: string,
  cache: PageCache | undefined,
  options: HubOptions,
  why: string,
): Promise<ModelFiles> {
  const records = (await cache?.records())?.filter((r) => r.model === name && r.complete) ?? [];
  if (!cache || records.length === 0)
    throw new DarkroomError(`${name}: is not in the browser's cache, and ${why}`);
  const files = new Map(records.map((record) => [record.path, record]));
  const plain = named(name, httpFiles(Object.fromEntries(records.map((r) => [r.path, new URL(r.key)]))));
  const find = (path: string): WebFile | undefined => {
    const record = files.get(path);
    if (!record) return undefined;
    const { key, version, bytes } = record;
    const hash = /^([0-9a-f]{64})$/.test(version) ? version : undefined;
    return { model: name, path, key, url: key, known: { version, bytes, hash } };
  };
  return keptFiles({ name, find, plain, listed: true }, cache, keptOptions(options));
}

/** The hub's description of a model. @throws UnreachableError, ArgumentError, FormatError */
function describeModel(
  url: string,
  name: string,
  { headers, seconds }: { readonly headers: Record<string, string>; readonly seconds: number },
): Promise<ModelInfo> {
  return persist(async () => {
    let text: string;
    try {
      const answer = await ask(`${url}?blobs=true`, { headers }, { seconds });
      if (answer.status >= 400) {
        await answer.cancel();
        throw refusal(name, answer);
      }
      text = new TextDecoder().decode(await answer.bytes(mostJsonBytes, name));
    } catch (error) {
      if (error instanceof DarkroomError) throw error;
      // A page is not told whether the hub is down or refuses pages of this origin.
      throw new UnreachableError(`${name}: the hub cannot be reached (${reasonOf(error)})`, false);
    }
    try {
      return checkModelInfo(JSON.parse(text), name);
    } catch (error) {
      if (error instanceof DarkroomError) throw error;
      throw new FormatError(`${name}: the hub answered with what is no JSON`);
    }
  });
}
