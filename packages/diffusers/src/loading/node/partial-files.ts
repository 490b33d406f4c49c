// Partial downloads: files <etag>.<n>.incomplete beside the blob <etag>. The highest n belongs to the downloading
// process, which touches it every second. A part that was not touched for 10 s is abandoned: the next process continues
// with a copy of it. So no two processes write one file, even if one was only suspended, and a killed process blocks
// nobody. Parts of other tools (<etag>.incomplete) are copied too.

import { constants, futimesSync, utimesSync } from 'node:fs';
import { copyFile, open, readdir, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { atEnd } from '@darkroom/core/node';

const touchMs = 1000;
/** Milliseconds without a touch after which a part counts as abandoned. */
const leftAfterMs = 10_000;
const lookMs = 200;

interface Part {
  readonly path: string;
  /** Number of the part; undefined for parts of other tools. */
  readonly n: number | undefined;
  readonly size: number;
  readonly mtimeMs: number;
}

/** The part that this process writes. */
export class OwnPart {
  readonly path: string;
  readonly file: FileHandle;
  readonly #blob: string;
  readonly #others: readonly Part[];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #forget: () => void;

  constructor(blob: string, path: string, file: FileHandle, others: readonly Part[]) {
    this.#blob = blob;
    this.path = path;
    this.file = file;
    this.#others = others;
    this.#timer = setInterval(() => futimesSync(file.fd, new Date(), new Date()), touchMs);
    this.#timer.unref();
    this.#forget = atEnd(() => utimesSync(path, 0, 0));
  }

  /** Copies the longest abandoned part. */
  async inherit(): Promise<void> {
    const longest = this.#others.reduce<Part | undefined>(
      (a, b) => (a && a.size >= b.size ? a : b),
      undefined,
    );
    if (longest && longest.size > 0)
      await copyFile(longest.path, this.path, constants.COPYFILE_FICLONE).catch(() => this.file.truncate(0));
    for (const part of this.#others) if (part.n !== undefined) await rm(part.path, { force: true });
  }

  async size(): Promise<number> {
    return (await this.file.stat()).size;
  }

  /** True if the path still names this file: another process may have replaced it while this one was suspended. */
  async isInPlace(): Promise<boolean> {
    const [own, there] = await Promise.all([this.file.stat(), stat(this.path).catch(() => undefined)]);
    return own.ino === there?.ino && own.dev === there.dev;
  }

  /** Removes abandoned parts, once the blob exists or their bytes were wrong; parts changed since are kept. */
  async removeOthers(): Promise<void> {
    for (const part of await partsOf(this.#blob)) {
      const same = this.#others.some((o) => o.path === part.path && o.mtimeMs === part.mtimeMs);
      if (part.path !== this.path && (part.n !== undefined || same)) await rm(part.path, { force: true });
    }
  }

  /** Closes the part, keeping its file for the next process. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    this.#forget();
    const { size } = await this.file.stat();
    const ours = await this.isInPlace();
    if (ours && size > 0) await this.file.utimes(0, 0);
    await this.file.close();
    if (ours && size === 0) await rm(this.path, { force: true });
  }
}

/**
 * A part of `blob` to write into, when no other process has one; while one has, waits and tells its size. Undefined
 * when `isThere` says that the blob came in the meantime.
 */
export async function ownPart(
  blob: string,
  isThere: () => Promise<boolean>,
  onWait: (bytes: number) => void,
): Promise<OwnPart | undefined> {
  for (;;) {
    if (await isThere()) return undefined;
    const parts = await partsOf(blob);
    const latest = parts.reduce((most, { n = 0 }) => Math.max(most, n), 0);
    const owner = parts.find((part) => part.n === latest);
    if (owner && Math.abs(Date.now() - owner.mtimeMs) < leftAfterMs) {
      onWait(owner.size);
      await new Promise((done) => setTimeout(done, lookMs));
      continue;
    }
    const path = `${blob}.${latest + 1}.incomplete`;
    const file = await open(path, 'wx+').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return undefined; // another process was faster
      throw error;
    });
    if (!file) continue;
    const part = new OwnPart(blob, path, file, parts);
    if (await isThere()) {
      await part.release();
      return undefined;
    }
    await part.inherit();
    return part;
  }
}

async function partsOf(blob: string): Promise<Part[]> {
  const [folder, name] = [dirname(blob), basename(blob)];
  const names = (await readdir(folder)).filter((n) => n.startsWith(`${name}.`) && n.endsWith('.incomplete'));
  const parts = await Promise.all(
    names.map(async (n) => {
      const path = join(folder, n);
      const found = await stat(path).catch(() => undefined);
      const number = /^[1-9]\d{0,8}$/.exec(n.slice(name.length + 1, -'.incomplete'.length))?.[0];
      return (
        found && {
          path,
          n: number === undefined ? undefined : Number(number),
          size: found.size,
          mtimeMs: found.mtimeMs,
        }
      );
    }),
  );
  return parts.filter((part) => part !== undefined);
}
