// Tuning results on disk: readable JSON, one file per device fingerprint. They only save time: a damaged file is
// ignored, and a folder that cannot be written gives one warning.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { log } from '../debug.ts';
import type { Choice } from '../backend.ts';
import type { TuneStore } from '../tune/tuner.ts';
import { writeFileWhole } from './write-files.ts';

/** A store of tuning winners in `folder`. */
export function fileTuneStore(folder: string): TuneStore {
  let warned = false;
  const fileOf = (fingerprint: string): string =>
    join(folder, `${fingerprint.replace(/[^A-Za-z0-9]+/g, '-')}.json`);
  const load = async (fingerprint: string): Promise<Record<string, Choice>> => {
    const path = fileOf(fingerprint);
    const text = await readFile(path, 'utf8').catch(() => '{}');
    try {
      const entries = Object.entries(JSON.parse(text) as Record<string, Choice>);
      return Object.fromEntries(entries.filter(([, choice]) => typeof choice?.id === 'string'));
    } catch {
      log.warn(`${path}: not readable as JSON; tuning starts anew`);
      return {};
    }
  };
  return {
    load,
    async save(fingerprint, winners) {
      try {
        // Another process may have found other winners since.
        const all = { ...(await load(fingerprint)), ...winners };
        await writeFileWhole(fileOf(fingerprint), `${JSON.stringify(all, null, 2)}\n`);
      } catch (error) {
        if (!warned) log.warn(`tuning results are not kept: ${(error as Error).message}`);
        warned = true;
      }
    },
  };
}
