// Compiled kernels on disk: one file a kernel, named by the hash of all it depends on, written whole or not at all.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CubinStore {
  load(key: string): Uint8Array | undefined;
  save(key: string, cubin: Uint8Array): void;
}

export function cubinFiles(folder: string): CubinStore {
  const fileOf = (key: string): string =>
    join(folder, `${createHash('sha256').update(key).digest('hex')}.cubin`);
  return {
    load(key) {
      try {
        return new Uint8Array(readFileSync(fileOf(key)));
      } catch {
        return undefined; // not compiled before, or not readable: it will be compiled
      }
    },
    save(key, cubin) {
      const file = fileOf(key);
      const part = `${file}.${process.pid}.part`;
      try {
        mkdirSync(folder, { recursive: true });
        writeFileSync(part, cubin);
        renameSync(part, file);
      } catch {
        // A cache that cannot be written only costs the next start its time.
      }
    },
  };
}
