// Files on disk for pictures: read whole, written whole or not at all. Only Node loads this.

import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile as read, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

export async function readFile(path: string): Promise<Uint8Array> {
  return read(path);
}

/**
 * Writes beside the target, flushes, then renames over it: a reader sees the old file or the new one, and a failure
 * leaves the old one. Makes missing folders.
 */
export async function writeFileAtomically(path: string, data: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
