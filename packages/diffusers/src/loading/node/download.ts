// Downloads one file from the hub into the cache: resumes an earlier download, checks the hash of the file on disk,
// then renames it. The etag of a large file is its sha256, that of a small one its git blob hash.

import { createHash } from 'node:crypto';
import { mkdir, rename, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DarkroomError, FormatError } from '@darkroom/core';
import { cannotWrite } from '@darkroom/core/node';
import type { RemoteFile } from '../hub-answers.ts';
import { persist, UnreachableError } from '../persist.ts';
import { unreachable } from './hub-remote.ts';
import type { Remote } from './hub-remote.ts';
import { ownPart } from './partial-files.ts';
import type { OwnPart } from './partial-files.ts';

type OnProgress = (received: number, total: number) => void;

/** Bytes that a try must bring to count as progress, so that a dripping server is given up. */
const leastBytes = 1024;
const readBytes = 2 ** 20;

/** Downloads to `blob`. After a failed connection the received bytes are kept; after a wrong hash they are deleted. */
export async function download(
  file: RemoteFile,
  blob: string,
  remote: Remote,
  onProgress: OnProgress = () => {},
): Promise<void> {
  const isThere = async (): Promise<boolean> => (await sizeOf(blob)) === file.bytes;
  try {
    await mkdir(dirname(blob), { recursive: true });
    for (;;) {
      const part = await ownPart(blob, isThere, (bytes) =>
        onProgress(Math.min(bytes, file.bytes), file.bytes),
      );
      if (!part) return;
      try {
        await fill(part, file, remote, onProgress);
        if (!(await part.isInPlace())) continue; // another process took over while this one was suspended
        await rename(part.path, blob);
        await part.removeOthers();
        return;
      } finally {
        await part.release();
      }
    }
  } catch (error) {
    throw cannotWrite(blob, error);
  }
}

/** Completes the part. If its hash is wrong, downloads the whole file once more, as inherited bytes may be bad. */
async function fill(part: OwnPart, file: RemoteFile, remote: Remote, onProgress: OnProgress): Promise<void> {
  const before = await part.size();
  await fetchAll(part, file, remote, onProgress);
  let got = await hashOf(part, file);
  if (got === file.etag) return;
  await part.file.truncate(0);
  await part.removeOthers();
  if (before > 0) {
    await fetchAll(part, file, remote, onProgress);
    got = await hashOf(part, file);
    if (got === file.etag) return;
    await part.file.truncate(0);
  }
  const kind = file.etag.length === 64 ? 'sha256' : 'git hash';
  throw new FormatError(
    `${file.name}: ${kind} of the download is ${got} but the hub says ${file.etag}; the file was deleted`,
  );
}

async function fetchAll(
  part: OwnPart,
  file: RemoteFile,
  remote: Remote,
  onProgress: OnProgress,
): Promise<void> {
  await checkSpace(part, file);
  let before = await part.size();
  const cameFurther = async (): Promise<boolean> => {
    const further = (await part.size()) >= before + leastBytes;
    before = await part.size();
    return further;
  };
  try {
    await persist(() => fetchRest(part, file, remote, onProgress), cameFurther);
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    const reason = error.message.replace(`${file.name}: `, '');
    throw new DarkroomError(
      `${file.name}: download stopped at ${await part.size()} of ${file.bytes} bytes (${reason}); run again to resume`,
    );
  }
  await part.file.sync();
}

/** Appends what is missing. Rejects when the answer ends early. */
async function fetchRest(
  part: OwnPart,
  file: RemoteFile,
  remote: Remote,
  onProgress: OnProgress,
): Promise<void> {
  let at = await part.size();
  if (at > file.bytes) {
    await part.file.truncate(0);
    at = 0;
  }
  if (at === file.bytes) return;
  const range = at > 0 ? { Range: `bytes=${at}-` } : undefined;
  const answer = await remote.get(file.url, file.name, { ...range });
  if (answer.status === 206 && startOf(answer.headers) !== at) {
    await answer.cancel();
    await part.file.truncate(0);
    throw new UnreachableError(`${file.name}: the server answered with another range than ${at}-`, true);
  }
  if (answer.status !== 206 && at > 0) {
    at = 0; // the whole file comes: the server does not resume
    await part.file.truncate(0);
  }
  for await (const piece of passing(answer.pieces(), (e) =>
    unreachable(file.name, remote.endpoint, e, true),
  )) {
    if (at + piece.length > file.bytes) {
      await part.file.truncate(0);
      throw new FormatError(`${file.name}: more than its ${file.bytes} bytes arrived`);
    }
    await writeAll(part, piece, at);
    at += piece.length;
    onProgress(at, file.bytes);
  }
  if (at !== file.bytes) throw new UnreachableError(`${file.name}: the connection ended at byte ${at}`, true);
}

/** Pieces of an answer; its failures are those that another try may mend. */
async function* passing(
  pieces: AsyncIterable<Uint8Array>,
  failure: (error: unknown) => Error,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* pieces;
  } catch (error) {
    throw failure(error);
  }
}

async function writeAll({ file }: OwnPart, bytes: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < bytes.length;)
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
}

/** First byte of a partial answer. */
function startOf(headers: Headers): number {
  return Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1] ?? NaN);
}

/** Hash of the bytes on disk. */
async function hashOf({ file: part }: OwnPart, file: RemoteFile): Promise<string> {
  const hash =
    file.etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${file.bytes}\0`);
  const buffer = new Uint8Array(readBytes);
  for (let at = 0; ;) {
    const { bytesRead } = await part.read(buffer, 0, readBytes, at);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function checkSpace(part: OwnPart, file: RemoteFile): Promise<void> {
  const disk = await statfs(part.path).catch(() => undefined);
  if (!disk || disk.blocks === 0) return; // a file system that does not count
  const [free, missing] = [disk.bavail * disk.bsize, file.bytes - (await part.size())];
  if (missing > free)
    throw new DarkroomError(
      `${file.name}: ${missing} more bytes are to come, but only ${free} are free for ${part.path}`,
    );
}

/** Bytes of a file; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (s) => (s.isFile() ? s.size : undefined),
    () => undefined,
  );
}
