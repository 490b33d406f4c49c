// What this package's own tests share: where the embedded model lies, copies of it to damage, small devices.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../../../../', import.meta.url));
export const emoji: string = join(root, 'models/emoji-64');

/** A fresh folder, removed by the returned function. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'darkroom-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A copy of the embedded model that a test may damage. */
export function modelCopy(folder: string): string {
  const path = join(folder, 'model');
  cpSync(emoji, path, { recursive: true });
  return path;
}

/** Rewrites a JSON file of a model copy. */
export function editJson(path: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
}
