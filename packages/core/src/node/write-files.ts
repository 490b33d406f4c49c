// Files written whole or not at all: as a temporary file beside the target, synced, its size checked, and only then
// renamed. Readers see the old file or the new one; failures, signals and concurrent writers leave no partial file and
// no temporary file.

import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DarkroomError } from '../errors.ts';
import { atEnd } from './at-end.ts';
import { whileLocked } from './folder-lock.ts';

/** A file to write. `data` is its whole content; strings are written as UTF-8. */
export interface NewFile {
  /** Missing folders are made. A link is followed: the file that it leads to is replaced. */
  readonly path: string;
  readonly data: string | Uint8Array | AsyncIterable<Uint8Array>;
}

/** A written file that waits for its name. */
interface Staged {
  readonly path: string;
  readonly target: string;
  readonly temporary: string;
  /** Removes the temporary file, and the folders that were made for a file that did not come. */
  discard(): void;
}

/** One write of Node may not pass 2 GiB. */
const mostBytes = 2 ** 30;

const temporaryBeside = (target: string): string => join(dirname(target), `.darkroom-${randomUUID()}.tmp`);

/** Writes one file. @throws DarkroomError naming `path` and the reason. */
export async function writeFileWhole(path: string, data: NewFile['data']): Promise<void> {
  await writeFilesTogether([{ path, data }]);
}

/**
 * Writes all of the files or none. All are whole on disk before the first is renamed to its place. The renames run in
 * order and synchronously, so that no signal handler runs between them, and under a lock on the last file's folder, so
 * that no other process saves there meanwhile. When one rename fails, the old files come back.
 * @throws DarkroomError naming the path and the reason.
 */
export async function writeFilesTogether(files: Iterable<NewFile>): Promise<void> {
  const staged: Staged[] = [];
  try {
    for (const file of files) staged.push(await stage(file));
    const last = staged.at(-1);
    if (staged.length > 1) whileLocked(dirname(last!.target), () => commit(staged));
    else commit(staged);
  } finally {
    for (const file of staged.reverse()) file.discard();
  }
}

/** Writes one small file synchronously, whole or not at all, without syncing it to disk. @throws as writeFileWhole. */
export function writeFileWholeSync(path: string, data: string | Uint8Array): void {
  const bytes = bytesOf(data);
  const { file, fd } = begin(path);
  try {
    try {
      for (let at = 0; at < bytes.length;) at += advanced(fs.writeSync(fd, bytes, at), path);
      checkSize(fd, bytes.length, path);
    } finally {
      fs.closeSync(fd);
    }
    commit([file]);
  } catch (error) {
    throw cannotWrite(path, error);
  } finally {
    file.discard();
  }
}

/** Tests that `bytes` can be written to each of `paths` at once; leaves nothing behind. @throws as writeFileWhole. */
export async function tryWriting(paths: readonly string[], bytes: number): Promise<void> {
  const staged: Staged[] = [];
  try {
    for (const path of paths) staged.push(await stage({ path, data: new Uint8Array(bytes) }));
  } finally {
    for (const file of staged.reverse()) file.discard();
  }
}

/** A system error as a DarkroomError that names the file and the reason; other errors are returned unchanged. */
export function cannotWrite(path: string, error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof DarkroomError || code === undefined || syscall === undefined) return error;
  const blocked = code === 'ENOTDIR' || (syscall === 'mkdir' && code === 'EEXIST');
  const reason = blocked ? 'a part of its path is a file' : message.split(',')[0];
  return new DarkroomError(`${path}: cannot be written (${reason})`, { cause: error });
}

async function stage({ path, data }: NewFile): Promise<Staged> {
  const { file, fd } = begin(path);
  try {
    try {
      let bytes = 0;
      const put = async (chunk: Uint8Array): Promise<void> => {
        for (let at = 0; at < chunk.length;) {
          const length = Math.min(chunk.length - at, mostBytes);
          at += advanced(await write(fd, chunk, at, length), path);
        }
        bytes += chunk.length;
      };
      if (typeof data === 'string' || data instanceof Uint8Array) await put(bytesOf(data));
      else for await (const chunk of data) await put(chunk);
      await sync(fd);
      checkSize(fd, bytes, path);
    } finally {
      fs.closeSync(fd);
    }
    return file;
  } catch (error) {
    file.discard();
    throw cannotWrite(path, error);
  }
}

/** Opens a temporary file beside `path` and registers its removal at the end of the process. */
function begin(path: string): { file: Staged; fd: number } {
  let discard = (): void => {};
  try {
    const old = fs.statSync(path, { throwIfNoEntry: false });
    if (old && !old.isFile()) {
      const kind = old.isDirectory() ? 'a folder' : 'no regular file';
      throw new DarkroomError(`${path}: cannot be written, it is ${kind}`);
    }
    if (old) fs.accessSync(path, fs.constants.W_OK);
    const target = old ? fs.realpathSync(path) : resolve(path);
    const made = fs.mkdirSync(dirname(target), { recursive: true });
    const temporary = temporaryBeside(target);
    discard = () => {
      fs.rmSync(temporary, { force: true });
      if (made && !fs.existsSync(target)) removeFolders(dirname(target), made);
      forget();
    };
    const forget = atEnd(discard);
    const fd = fs.openSync(temporary, 'wx', old ? old.mode & 0o777 : 0o666);
    return { file: { path, target, temporary, discard }, fd };
  } catch (error) {
    discard();
    throw cannotWrite(path, error);
  }
}

/** Renames all files to their targets, or none. */
function commit(files: readonly Staged[]): void {
  const backups: string[] = [];
  const undo: (() => void)[] = [];
  try {
    for (const { path, target, temporary } of files) {
      try {
        // A single rename is atomic. Of several, those before a failure are undone, which needs backups.
        const backup = files.length > 1 ? backUp(target) : undefined;
        if (backup) {
          backups.push(backup);
          undo.push(() => fs.renameSync(backup, target));
        }
        fs.renameSync(temporary, target);
        if (!backup) undo.push(() => fs.rmSync(target, { force: true }));
      } catch (error) {
        throw cannotWrite(path, error);
      }
    }
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  } finally {
    for (const backup of backups) fs.rmSync(backup, { force: true });
  }
}

/**
 * Backs up the file at `target` by a hard link, or by a rename where links are not supported; undefined if none exists.
 */
function backUp(target: string): string | undefined {
  if (!fs.statSync(target, { throwIfNoEntry: false })?.isFile()) return undefined;
  const backup = temporaryBeside(target);
  try {
    fs.linkSync(target, backup);
  } catch {
    fs.renameSync(target, backup);
  }
  return backup;
}

const bytesOf = (data: string | Uint8Array): Uint8Array =>
  typeof data === 'string' ? new TextEncoder().encode(data) : data;

function write(fd: number, bytes: Uint8Array, at: number, length: number): Promise<number> {
  return new Promise((done, fail) =>
    fs.write(fd, bytes, at, length, null, (error, written) => (error ? fail(error) : done(written))),
  );
}

const sync = (fd: number): Promise<void> =>
  new Promise((done, fail) => fs.fsync(fd, (error) => (error ? fail(error) : done())));

function advanced(written: number, path: string): number {
  if (written === 0) throw new DarkroomError(`${path}: cannot be written, the system takes no more bytes`);
  return written;
}

function checkSize(fd: number, bytes: number, path: string): void {
  const { size } = fs.fstatSync(fd);
  if (size !== bytes)
    throw new DarkroomError(`${path}: ${bytes} bytes were written, but the file holds ${size}`);
}

/** Removes `folder` and those above it up to `top`, as far as they are empty. */
function removeFolders(folder: string, top: string): void {
  try {
    for (let at = folder; at.length >= top.length; at = dirname(at)) fs.rmdirSync(at);
  } catch {
    // A folder is not empty: another program has put something there.
  }
}
