// Tuning results on disk: readable JSON, one file per device fingerprint, written whole. A damaged file counts as none.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { log } from '../debug.ts';
import type { Choice } from '../backend.ts';
import type { TuneStore } from '../tune/tuner.ts';

/** Keeps what tuning found in `folder`. */
export function fileTuneStore(folder: string): TuneStore {
  const fileOf = (fingerprint: string): string =>
    join(folder, `${fingerprint.replace(/[^A-Za-z0-9]+/g, '-')}.json`);
  return {
    async load(fingerprint) {
      const path = fileOf(fingerprint);
      const text = await readFile(path, 'utf8').catch(() => '{}');
      try {
        const entries = Object.entries(JSON.parse(text) as Record<string, Choice>);
        return Object.fromEntries(entries.filter(([, choice]) => typeof choice?.id === 'string'));
      } catch {
        log.warn(`${path}: not readable as JSON; tuning starts anew`);
        return {};
      }
    },
    async save(fingerprint, winners) {
      const path = fileOf(fingerprint);
      await mkdir(folder, { recursive: true });
      await writeFile(`${path}.partial`, `${JSON.stringify(winners, null, 2)}\n`);
      await rename(`${path}.partial`, path);
    },
  };
}
