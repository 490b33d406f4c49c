// The folder of results of a visit: besides records and logs it holds compiled kernels and tuning results, so that they
// come back from the machine and go along to it again.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '@darkroom/core/node';

/**
 * Sends the caches of this process and its children to `results`, filled from the folder `seed` where that is: results
 * of an earlier visit, or a folder in which `tuned` are tuning results, `darkroom` is a whole cache, and other files are
 * compiled kernels.
 */
export function keepIn(results: string, seed: string): { readonly scratch: string } {
  const scratch = join(results, 'work');
  const cache = join(results, 'cache');
  const tuned = join(scratch, 'tuned');
  process.env['DARKROOM_CACHE'] = cache;
  const kernels = cacheFolder('cuda');
  for (const folder of [tuned, kernels]) mkdirSync(folder, { recursive: true });
  if (existsSync(join(seed, 'cache'))) {
    copyIfThere(join(seed, 'cache'), cache);
    copyIfThere(join(seed, 'work', 'tuned'), tuned);
  } else if (existsSync(seed)) {
    copyIfThere(join(seed, 'darkroom'), join(cache, 'darkroom'));
    copyIfThere(join(seed, 'tuned'), tuned);
    const named = [join(seed, 'tuned'), join(seed, 'darkroom')];
    cpSync(seed, kernels, { recursive: true, force: false, filter: (path) => !named.includes(path) });
  }
  return { scratch };
}

function copyIfThere(from: string, to: string): void {
  if (existsSync(from)) cpSync(from, to, { recursive: true, force: false });
}

/** results.tgz: all that lies in the folder, where tar is. */
export function archive(results: string): void {
  const [part, whole] = ['results.tgz.part', 'results.tgz'];
  const { status } = spawnSync('tar', ['-czf', part, '--exclude=results.tgz*', '.'], {
    cwd: results,
    timeout: 20_000,
  });
  // tar says 1 when a file changed while it was read: its own.
  if (status === 0 || status === 1) renameSync(join(results, part), join(results, whole));
  else rmSync(join(results, part), { force: true });
}
