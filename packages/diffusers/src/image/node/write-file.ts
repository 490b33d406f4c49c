// Files on disk for pictures: read whole, written whole or not at all. Only Node loads this.

import { readFile as read } from 'node:fs/promises';
import { ArgumentError } from '@darkroom/core';

export { writeFileWhole } from '@darkroom/core/node';

/** @throws ArgumentError with the system's reason where the file cannot be read */
export async function readFile(path: string): Promise<Uint8Array> {
  try {
    return await read(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message;
    throw new ArgumentError(`picture '${path}': ${reason}`);
  }
}
