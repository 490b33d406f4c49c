// The folder in which backends cache compiled kernels and tuning results.

import { homedir } from 'node:os';
import { join } from 'node:path';

/** DARKROOM_CACHE, else XDG_CACHE_HOME or ~/.cache; in it darkroom/<name>. */
export function cacheFolder(name: string): string {
  const { env } = process;
  const root = env['DARKROOM_CACHE'] ?? env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(root, 'darkroom', name);
}
