// Saves that overlap: all succeed, and the last one stays.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tuneStoreIn } from './tune-store.ts';

test('saves take turns', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-tuned-'));
  try {
    const store = tuneStoreIn(folder);
    const winners: Record<string, { id: string }> = {};
    const saves = Array.from({ length: 20 }, (_, i) => {
      winners[`key ${i}`] = { id: `choice ${i}` };
      return store.save('a device', winners);
    });
    await Promise.all(saves);
    expect(await store.load('a device')).toEqual(winners);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
