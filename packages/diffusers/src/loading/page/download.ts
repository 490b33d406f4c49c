// Downloads one file into the browser's cache: piece by piece, checked, going on where an earlier download was cut.
// A file is complete only after its size and hash were compared; what fails the comparison is dropped.

import { sha1 } from '@noble/hashes/legacy.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { ArgumentError, FormatError } from '@darkroom/core';
import { ask, reasonOf } from '../ask.ts';
import type { Answer } from '../ask.ts';
import { persist, refusal, UnreachableError } from '../persist.ts';
import { NoRoomError, pieceBytes } from './page-cache.ts';
import type { FileRecord, PageCache } from './page-cache.ts';

/** A file of a model on the web. */
export interface WebFile {
  readonly model: string;
  readonly path: string;
  readonly key: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What a hub tells before the download. */
  readonly known?: {
    readonly version: string;
    readonly bytes: number | undefined;
    readonly hash: string | undefined;
  };
}

/** Why a file is not kept. */
export type NotKept = 'no version' | 'no room';

/** Options of download. */
export interface DownloadOptions {
  readonly seconds: number;
  readonly onProgress?: ((received: number, total: number) => void) | undefined;
}

/** Downloads a file, or its missing rest. @throws DarkroomError; the pieces that came whole are kept */
export async function download(
  cache: PageCache,
  file: WebFile,
  options: DownloadOptions,
): Promise<FileRecord | NotKept> {
  const task = new Download(cache, file, options);
  try {
    await task.resume();
    return await persist(
      () => task.fetchRest(),
      () => task.cameFurther(),
    );
  } catch (error) {
    if (!(error instanceof NoRoomError)) throw error;
    await cache.remove(file.key);
    return 'no room';
  }
}

class Download {
  readonly #cache: PageCache;
  readonly #file: WebFile;
  readonly #options: DownloadOptions;
  #record: FileRecord;
  #hash: ReturnType<typeof sha256.create> | undefined;
  #before = 0;
  /** Bytes that room was made for. */
  #room = 0;
  /** True if pieces of an earlier download are used. */
  #inherits = false;

  constructor(cache: PageCache, file: WebFile, options: DownloadOptions) {
    this.#cache = cache;
    this.#file = file;
    this.#options = options;
    this.#record = this.#empty('');
    this.#hash = newHash(file.known);
  }

  #empty(version: string, fixed = false): FileRecord {
    const { key, model, path } = this.#file;
    return {
      key,
      model,
      path,
      version,
      fixed,
      bytes: 0,
      pieces: [],
      complete: false,
      used: Date.now(),
    };
  }

  async #restart(version = ''): Promise<void> {
    await this.#cache.remove(this.#file.key);
    this.#record = this.#empty(version);
    this.#hash = newHash(this.#file.known);
    this.#inherits = false;
  }

  /** Takes up the pieces of a download that was cut, if they are of this version. */
  async resume(): Promise<void> {
    const earlier = await this.#cache.record(this.#file.key);
    if (!earlier) return;
    const { known } = this.#file;
    if (earlier.complete || (known && known.version !== earlier.version)) return this.#restart();
    for (const i of earlier.pieces.keys()) {
      const piece = await this.#cache.piece(earlier, i);
      if (!piece) return this.#restart();
      this.#hash?.update(piece);
    }
    this.#record = earlier;
    this.#before = earlier.bytes;
    this.#inherits = earlier.bytes > 0;
  }

  async cameFurther(): Promise<boolean> {
    const further = this.#record.bytes > this.#before;
    this.#before = this.#record.bytes;
    return further;
  }

  async fetchRest(): Promise<FileRecord | NotKept> {
    const { known } = this.#file;
    if (known?.bytes === this.#record.bytes && known.bytes > 0) return this.#finish();
    const answer = await this.#request(this.#record.bytes);
    const version = known?.version ?? versionOf(answer.headers);
    if (version === undefined) {
      await answer.cancel();
      return 'no version';
    }
    if (this.#record.bytes > 0 && !this.#continues(answer, version)) {
      await this.#restart();
      if (answer.status === 206) {
        await answer.cancel();
        throw new UnreachableError(`${this.#file.url}: the server answered with another range`, true);
      }
    }
    if (this.#record.bytes === 0) {
      this.#record = this.#empty(version, /\bimmutable\b/.test(answer.headers.get('cache-control') ?? ''));
    }
    // All at once where the size is told: what cannot be kept is not begun.
    this.#room = (known?.bytes ?? this.#record.bytes + lengthOf(answer)) - this.#record.bytes;
    const { key, model } = this.#file;
    if (!(await this.#cache.makeRoom(this.#room, model))) return this.#refuse(answer, key);
    await this.#receive(answer);
    return this.#finish();
  }

  async #refuse(answer: Answer, key: string): Promise<NotKept> {
    await answer.cancel();
    await this.#cache.remove(key);
    return 'no room';
  }

  /** True if the answer is the rest of the same version. Without a hash to compare, only a strong tag tells. */
  #continues(answer: Answer, version: string): boolean {
    const start = /^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')?.[1];
    const { hash } = this.#file.known ?? {};
    const fits = answer.status === 206 && version === this.#record.version;
    return hash === undefined
      ? fits && Number(start) === this.#record.bytes && version.startsWith('"')
      : fits && (start === undefined || Number(start) === this.#record.bytes);
  }

  async #request(start: number): Promise<Answer> {
    const { url, headers = {} } = this.#file;
    let answer: Answer;
    try {
      const range = start > 0 ? { range: `bytes=${start}-` } : {};
      answer = await ask(url, { headers: { ...headers, ...range } }, { seconds: this.#options.seconds });
    } catch (error) {
      throw new UnreachableError(`${url}: could not be fetched: ${reasonOf(error)}`, true);
    }
    try {
      if (answer.status === 416 && start > 0) {
        await this.#restart();
        throw new UnreachableError(`${url}: has no more than ${start} bytes`, true);
      }
      return checkFile(answer, url, this.#file.known !== undefined);
    } catch (error) {
      await answer.cancel();
      throw error;
    }
  }

  async #receive(answer: Answer): Promise<void> {
    const { known, url } = this.#file;
    const total = known?.bytes ?? this.#record.bytes + lengthOf(answer);
    let piece = new Uint8Array(pieceBytes);
    let filled = 0;
    const { onProgress } = this.#options;
    try {
      for await (let bytes of answer.pieces()) {
        const received = this.#record.bytes + filled + bytes.length;
        if (known?.bytes !== undefined && received > known.bytes) {
          await this.#restart();
          throw new FormatError(`${url}: more than its ${known.bytes} bytes arrived`);
        }
        onProgress?.(received, Math.max(received, total));
        while (bytes.length > 0) {
          const part = bytes.subarray(0, pieceBytes - filled);
          piece.set(part, filled);
          filled += part.length;
          bytes = bytes.subarray(part.length);
          if (filled < pieceBytes) continue;
          await this.#keep(piece);
          piece = new Uint8Array(pieceBytes);
          filled = 0;
        }
      }
    } catch (error) {
      if (error instanceof FormatError || error instanceof NoRoomError) throw error;
      throw new UnreachableError(`${url}: the answer broke off: ${reasonOf(error)}`, true);
    }
    const received = this.#record.bytes + filled;
    if (known?.bytes !== undefined && received !== known.bytes)
      throw new UnreachableError(`${url}: the answer ended at byte ${received} of ${known.bytes}`, true);
    if (filled > 0) await this.#keep(piece.slice(0, filled));
  }

  /** The record follows its piece: a piece that was cut is in no record. */
  async #keep(piece: Uint8Array<ArrayBuffer>): Promise<void> {
    const { key, model } = this.#file;
    this.#hash?.update(piece);
    this.#room -= piece.length;
    if (this.#room < 0 && !(await this.#cache.makeRoom(piece.length, model)))
      throw new NoRoomError(piece.length);
    const sum = await this.#cache.addPiece(key, this.#record.pieces.length, piece, model);
    const { pieces, bytes } = this.#record;
    this.#record = { ...this.#record, pieces: [...pieces, sum], bytes: bytes + piece.length };
    // The last one is recorded when the file is complete: a download goes on behind whole pieces only.
    if (piece.length === pieceBytes) await this.#cache.save(this.#record);
  }

  /** Compares the hash and completes the record. Pieces of an earlier download may be bad: then all comes anew, once. */
  async #finish(): Promise<FileRecord> {
    const { hash } = this.#file.known ?? {};
    const got = this.#hash && bytesToHex(this.#hash.digest());
    if (got !== undefined && got !== hash) {
      const again = this.#inherits;
      await this.#restart();
      const what = `${this.#file.url}: ${hash!.length === 64 ? 'sha256' : 'git hash'} of the download is ${got} but the hub says ${hash}`;
      if (again) throw new UnreachableError(what, true);
      throw new FormatError(`${what}; the file was deleted`);
    }
    this.#record = { ...this.#record, complete: true, used: Date.now() };
    await this.#cache.save(this.#record);
    return this.#record;
  }
}

/** Git's hash of a file begins with its size, so that it needs one. */
function newHash(known: WebFile['known']): ReturnType<typeof sha256.create> | undefined {
  if (known?.hash === undefined) return undefined;
  if (known.hash.length === 64) return sha256.create();
  if (known.bytes === undefined) return undefined;
  return sha1.create().update(new TextEncoder().encode(`blob ${known.bytes}\0`)) as unknown as ReturnType<
    typeof sha256.create
  >;
}

/** What tells a version of a file from others: its ETag, else when it was changed; undefined where neither is told. */
export const versionOf = (headers: Headers): string | undefined =>
  headers.get('etag') ?? headers.get('last-modified') ?? undefined;

/** Bytes that the answer announces; 0 where it does not. */
const lengthOf = ({ headers }: Answer): number => Number(headers.get('content-length') ?? 0);

/** The answer, if it is the file. Single-page apps answer a missing path with their web page. @throws ArgumentError */
export function checkFile(answer: Answer, url: string, onHub: boolean): Answer {
  const { status, ok, headers, statusText } = answer;
  if (onHub && status >= 400) throw refusal(url, answer);
  const isPage = (headers.get('content-type') ?? '').startsWith('text/html') && !/\.html?$/.test(url);
  if (ok && !isPage) return answer;
  const said = `HTTP ${status} ${statusText}`.trim();
  if (ok) throw new ArgumentError(`${url}: no such file (${said} with a web page instead)`);
  if (status === 404 || status === 410) throw new ArgumentError(`${url}: no such file (${said})`);
  if (status >= 500 || status === 429) throw new UnreachableError(`${url}: ${said}`, true);
  throw new FormatError(`${url}: ${said}`);
}
