// Files on disk for pictures: read whole, written whole or not at all. Only Node loads this.

import { readFile as read } from 'node:fs/promises';

export { writeFileWhole } from '@darkroom/core/node';

export async function readFile(path: string): Promise<Uint8Array> {
  return read(path);
}
