// Compiled kernels (cubins, and cuDNN's plans, which hold them) on disk: one file a kernel, named by the hash of all it depends on. A file says how long its cubin is
// and what it hashes to: drivers crash on a damaged one. The cache only saves time: what fails here is compiled again.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { log } from '@darkroom/core';
import { writeFileWholeSync } from '@darkroom/core/node';

export interface CubinStore {
  load(key: string): Uint8Array | undefined;
  save(key: string, cubin: Uint8Array): void;
}

/** Before the cubin: these letters, its length in 8 bytes, the sha256 of key and cubin in 32. */
const magic = Buffer.from('darkcub1');
const headBytes = magic.length + 8 + 32;

function headOf(key: string, cubin: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(cubin.length));
  return Buffer.concat([magic, length, createHash('sha256').update(key).update('\0').update(cubin).digest()]);
}

/** Files in `folder` whose names end in `.<ending>`. */
export function cubinFiles(folder: string, ending: 'cubin' | 'plan' = 'cubin'): CubinStore {
  let warned = false;
  const fileOf = (key: string): string =>
    join(folder, `${createHash('sha256').update(key).digest('hex')}.${ending}`);
  return {
    load(key) {
      try {
        const file = readFileSync(fileOf(key));
        const cubin = new Uint8Array(file.subarray(headBytes));
        const whole = cubin.length > 0 && headOf(key, cubin).equals(file.subarray(0, headBytes));
        return whole ? cubin : undefined;
      } catch {
        return undefined; // not compiled before, or not readable
      }
    },
    save(key, cubin) {
      try {
        writeFileWholeSync(fileOf(key), Buffer.concat([headOf(key, cubin), cubin]));
      } catch (error) {
        if (!warned) log.warn(`compiled kernels are not kept: ${(error as Error).message}`);
        warned = true;
      }
    },
  };
}
