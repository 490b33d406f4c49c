// A model's files on the web through the browser's cache: each is downloaded whole at its first use, then read from the
// cache piece by piece. A kept file is asked about once, by HEAD, unless its version is known.

import { FormatError } from '@darkroom/core';
import type { ByteSource } from '@darkroom/core';
import { ask, reasonOf } from '../ask.ts';
import type { Answer } from '../ask.ts';
import { checkPath } from '../files.ts';
import type { ModelFiles } from '../files.ts';
import { UnreachableError } from '../persist.ts';
import { checkFile, download, versionOf } from './download.ts';
import type { NotKept, WebFile } from './download.ts';
import { pieceBytes, warnOnce } from './page-cache.ts';
import type { FileRecord, PageCache } from './page-cache.ts';

/** The files of a model on the web. */
export interface Places {
  readonly name: string;
  /** A file's place; undefined for files that are not kept, and where the model has none. */
  find(path: string): WebFile | undefined;
  /** The same files without a cache, for those that cannot be kept. */
  readonly plain: ModelFiles;
  /** True if find() knows every file, so that no server is asked whether there is one. */
  readonly listed: boolean;
}

/** Options of keptFiles. */
export interface KeptOptions {
  /** Seconds that an answer or a download may stall. */
  readonly seconds: number;
  readonly onDownload?: ((file: string, received: number, total: number) => void) | undefined;
}

/** Bytes of a text file at most. */
const mostText = 64 * 2 ** 20;

const reasons: Readonly<Record<NotKept, string>> = {
  'no version': 'its server tells neither ETag nor Last-Modified, so that a change would not be seen',
  'no room': 'it has more bytes than the cache may hold',
};

/** The model's files through `cache`. */
export function keptFiles(places: Places, cache: PageCache, options: KeptOptions): ModelFiles {
  const { plain, name, listed } = places;
  const heads = new Map<string, Promise<Answer>>();
  /** One question for each file, whoever asks. */
  const head = ({ url, headers = {} }: WebFile): Promise<Answer> => {
    const asked = heads.get(url) ?? ask(url, { method: 'HEAD', headers }, { seconds: options.seconds });
    heads.set(url, asked);
    return asked;
  };
  const isFresh = async (file: WebFile, record: FileRecord): Promise<boolean> => {
    if (file.known) return file.known.version === record.version;
    if (record.fixed) return true;
    let answer: Answer;
    try {
      answer = await head(file);
    } catch (error) {
      warnOnce(`${name}: cannot be reached (${reasonOf(error)}), the copy in the browser is used`);
      return true;
    }
    if (answer.status === 405 || answer.status === 501) return false;
    try {
      return versionOf(checkFile(answer, file.url, false).headers) === record.version;
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      warnOnce(`${name}: cannot be reached (${error.message}), the copy in the browser is used`);
      return true;
    }
  };
  const ensure = (file: WebFile): Promise<FileRecord | NotKept> =>
    alone(file.key, async () => {
      const record = await cache.record(file.key);
      if (record?.complete && (await isFresh(file, record))) {
        const used = { ...record, used: Date.now() };
        await cache.save(used);
        return used;
      }
      if (record?.complete) await cache.remove(file.key);
      const { seconds, onDownload } = options;
      const onProgress =
        onDownload && ((received: number, total: number) => onDownload(file.path, received, total));
      return download(cache, file, { seconds, onProgress });
    });
  const open = async (given: string): Promise<ByteSource> => {
    const path = checkPath(given, name);
    const file = places.find(path);
    if (!file) return plain.source(path);
    const record = await ensure(file);
    if (typeof record !== 'string') return piecesSource(cache, file, record, ensure);
    warnOnce(`${name}: the browser keeps no copy: ${reasons[record]}`);
    return plain.source(path);
  };
  return {
    describe: () => name,
    exists: async (given) => {
      const path = checkPath(given, name);
      const file = places.find(path);
      if (!file || listed) return file !== undefined || plain.exists(path);
      if ((await cache.record(file.key))?.complete) return true;
      const answer = await head(file).catch(() => undefined);
      if (!answer || answer.status === 405 || answer.status === 501) return plain.exists(path);
      try {
        checkFile(answer, file.url, false);
        return true;
      } catch {
        return answer.status >= 500 ? plain.exists(path) : false;
      }
    },
    readText: async (path) => {
      const source = await open(path);
      if (source.bytes > mostText)
        throw new FormatError(
          `${source.name}: a text of ${source.bytes} bytes, ${mostText} are read at most`,
        );
      return new TextDecoder().decode(await source.read(0, source.bytes));
    },
    source: open,
    ...(plain.list && { list: (folder: string) => plain.list!(folder) }),
  };
}

/** Reads a kept file, one piece in memory at a time. A piece that the browser dropped or damaged is fetched again. */
function piecesSource(
  cache: PageCache,
  file: WebFile,
  record: FileRecord,
  ensure: (file: WebFile) => Promise<FileRecord | NotKept>,
): ByteSource {
  const name = file.url;
  let held: { readonly index: number; readonly bytes: Uint8Array } | undefined;
  const pieceAt = async (index: number): Promise<Uint8Array> => {
    if (held?.index === index) return held.bytes;
    let bytes = await cache.piece(record, index);
    if (!bytes) {
      await cache.remove(file.key);
      const again = await ensure(file);
      const same = typeof again !== 'string' && again.pieces.join() === record.pieces.join();
      bytes = same ? await cache.piece(again, index) : undefined;
      if (!bytes)
        throw new FormatError(
          `${name}: the browser's copy is damaged, and what was fetched anew is another file`,
        );
    }
    held = { index, bytes };
    return bytes;
  };
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const first = Math.floor(offset / pieceBytes);
    const start = offset - first * pieceBytes;
    if (start + length <= pieceBytes && length > 0)
      return (await pieceAt(first)).subarray(start, start + length);
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const index = Math.floor((offset + at) / pieceBytes);
      const from = offset + at - index * pieceBytes;
      const part = (await pieceAt(index)).subarray(from, from + length - at);
      out.set(part, at);
      at += part.length;
    }
    return out;
  };
  let before: Promise<unknown> = Promise.resolve();
  return {
    name,
    bytes: record.bytes,
    read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > record.bytes)
        return Promise.reject(
          new RangeError(`${name}: bytes ${offset}+${length} are outside its ${record.bytes}`),
        );
      const result = before.then(() => read(offset, length));
      before = result.catch(() => {});
      return result;
    },
  };
}

/** Runs `task` while no other tab or worker of the origin does so for the same file. */
async function alone<T>(key: string, task: () => Promise<T>): Promise<T> {
  const { locks } = navigator;
  if (!locks) return task();
  return (await locks.request(`darkroom ${key}`, task)) as T;
}
