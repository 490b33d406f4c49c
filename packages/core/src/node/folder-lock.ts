// A lock on a folder, so that one process at a time renames files that belong together.

import * as fs from 'node:fs';
import { join } from 'node:path';

/** A lock is held for far less; an older one is of a process that was killed. */
const staleMs = 10_000;
const lookMs = 2;

/** Runs `body` while no other process does so for `folder`. */
export function whileLocked<T>(folder: string, body: () => T): T {
  const lock = join(folder, '.darkroom-lock');
  while (!created(lock)) {
    const age = Date.now() - (fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (Math.abs(age) > staleMs) fs.rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs);
  }
  try {
    return body();
  } finally {
    fs.rmSync(lock, { force: true });
  }
}

function created(lock: string): boolean {
  try {
    fs.closeSync(fs.openSync(lock, 'wx'));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
