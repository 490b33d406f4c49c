// Model files that the browser keeps: pieces in the Cache API, each with its checksum, and a record for each file, which
// is written after the pieces that it names. The models used last stay, up to a number of bytes. Asks no server.

import { DarkroomError, log } from '@darkroom/core';
import { isJsonObject } from '../json.ts';

/** Bytes of a piece, the last one of a file excepted: what a cut download may lose, and what is read at once. */
export const pieceBytes: number = 8 * 2 ** 20;

/** A file in the cache, whole or the start of one. */
export interface FileRecord {
  /** The file's place, whatever its version: its address, on a hub that of no commit. */
  readonly key: string;
  /** For messages, and the name under which a model's files are counted together. */
  readonly model: string;
  readonly path: string;
  /** Differs between versions: a hash, or what the server says of the file. */
  readonly version: string;
  /** True if the server promised that the address never gives another version. */
  readonly fixed: boolean;
  /** Bytes of the pieces. */
  readonly bytes: number;
  /** sha256 of each piece, in hex. */
  readonly pieces: readonly string[];
  /** False: the start of a file whose download was cut. */
  readonly complete: boolean;
  /** When it was opened last, in milliseconds since 1970. */
  readonly used: number;
}

/** A model in the browser's cache. */
export interface CachedModel {
  /** A hub id, or the address of the model. */
  readonly model: string;
  readonly files: number;
  /** Bytes of all files, those of cut downloads too. */
  readonly bytes: number;
  /** When it was used last. */
  readonly used: Date;
}

const cacheName = 'darkroom-models';
const addressOf = (key: string, part: number | 'record'): string =>
  `https://darkroom.invalid/${encodeURIComponent(key)}/${part}`;

const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const checksum = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
  toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));

/** The files that the browser keeps for this page's origin. */
export class PageCache {
  readonly #cache: Cache;
  readonly #most: number;

  private constructor(cache: Cache, most: number) {
    this.#cache = cache;
    this.#most = most;
  }

  /** `most`: bytes kept at most. Undefined, with one warning, where the browser offers no cache. */
  static async open(most: number): Promise<PageCache | undefined> {
    if (most === 0) return undefined;
    try {
      if (globalThis.caches === undefined)
        throw new Error('it is offered to pages over https and from localhost only');
      return new PageCache(await caches.open(cacheName), most);
    } catch (error) {
      warnOnce(`the browser keeps no model files: no Cache API here (${(error as Error).message})`);
      return undefined;
    }
  }

  async record(key: string): Promise<FileRecord | undefined> {
    return readRecord(await this.#cache.match(addressOf(key, 'record')));
  }

  async records(): Promise<FileRecord[]> {
    const requests = (await this.#cache.keys()).filter(({ url }) => url.endsWith('/record'));
    const records = await Promise.all(
      requests.map(async (request) => readRecord(await this.#cache.match(request))),
    );
    return records.filter((record) => record !== undefined);
  }

  async save(record: FileRecord): Promise<void> {
    await this.#put(addressOf(record.key, 'record'), JSON.stringify(record), record.model);
  }

  /** A piece; undefined if the browser dropped it or its checksum is wrong. */
  async piece({ key, pieces }: FileRecord, index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const answer = await this.#cache.match(addressOf(key, index));
    if (!answer) return undefined;
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return (await checksum(bytes)) === pieces[index] ? bytes : undefined;
  }

  /** Keeps a piece of a file of `model`. Resolves to its checksum. @throws NoRoomError */
  async addPiece(key: string, index: number, bytes: Uint8Array<ArrayBuffer>, model: string): Promise<string> {
    await this.#put(addressOf(key, index), bytes, model);
    return checksum(bytes);
  }

  async remove(key: string): Promise<void> {
    const start = addressOf(key, 'record').slice(0, -'record'.length);
    // The record first: pieces without one are never read.
    await this.#cache.delete(addressOf(key, 'record'));
    for (const request of await this.#cache.keys())
      if (request.url.startsWith(start)) await this.#cache.delete(request);
  }

  /** Drops models other than `model`, those used longest ago first, until `bytes` more fit. False: they do not. */
  async makeRoom(bytes: number, model: string): Promise<boolean> {
    const records = await this.records();
    const others = modelsOf(records).filter((one) => one.model !== model);
    let total = records.reduce((sum, record) => sum + record.bytes, 0) + bytes;
    const least = total - others.reduce((sum, other) => sum + other.bytes, 0);
    if (least > this.#most) return false;
    for (const other of others.reverse()) {
      if (total <= this.#most) break;
      await this.removeModel(other.model);
      total -= other.bytes;
    }
    return true;
  }

  async removeModel(model: string): Promise<void> {
    for (const record of await this.records()) if (record.model === model) await this.remove(record.key);
  }

  /** Puts an entry. Where the browser has no room for it, other models go, the one used longest ago first. */
  async #put(address: string, body: string | Uint8Array<ArrayBuffer>, model: string): Promise<void> {
    for (;;) {
      try {
        return await this.#cache.put(address, new Response(body));
      } catch (error) {
        if ((error as Error).name !== 'QuotaExceededError') throw error;
        const oldest = modelsOf(await this.records()).findLast((one) => one.model !== model);
        if (!oldest) throw new NoRoomError(body.length);
        await this.removeModel(oldest.model);
      }
    }
  }
}

/** The cache has no room for a piece. */
export class NoRoomError extends DarkroomError {
  constructor(bytes: number) {
    super(`the browser has no room for ${bytes} more bytes`);
  }
}

/** The models of `records`, the one used last first. */
export function modelsOf(records: readonly FileRecord[]): CachedModel[] {
  const names = [...new Set(records.map(({ model }) => model))];
  const models = names.map((model) => {
    const files = records.filter((record) => record.model === model);
    return {
      model,
      files: files.length,
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      used: new Date(Math.max(...files.map(({ used }) => used))),
    };
  });
  return models.sort((a, b) => b.used.getTime() - a.used.getTime());
}

/** The models that the browser keeps for this page's origin, the one used last first; none where it has no cache. */
export async function cachedModels(): Promise<CachedModel[]> {
  const cache = await PageCache.open(Infinity);
  return cache ? modelsOf(await cache.records()) : [];
}

/** Drops what the browser keeps of a model, by its name in cachedModels(); without a name, of all models. */
export async function clearCache(model?: string): Promise<void> {
  if (model !== undefined) return (await PageCache.open(Infinity))?.removeModel(model);
  await globalThis.caches?.delete(cacheName);
}

/** The record in an entry; undefined for none, and for one that other code wrote. */
async function readRecord(answer: Response | undefined): Promise<FileRecord | undefined> {
  const json: unknown = await answer?.json().catch(() => undefined);
  if (!isJsonObject(json)) return undefined;
  const { key, model, path, version, fixed, bytes, pieces, complete, used } = json;
  const texts = [key, model, path, version].every((value) => typeof value === 'string');
  const numbers = Number.isSafeInteger(bytes) && Number.isFinite(used);
  const flags = typeof fixed === 'boolean' && typeof complete === 'boolean';
  const isRecord = texts && numbers && flags && Array.isArray(pieces);
  return isRecord ? (json as unknown as FileRecord) : undefined;
}

const warned = new Set<string>();
/** Warns of the same thing once. */
export function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  log.warn(message);
}
