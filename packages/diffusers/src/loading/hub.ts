// Opens a checkpoint by folder or hub id. Code that uses the disk or the network is in node/, imported on demand.
// A folder wins over a hub id of the same name, as in diffusers.

import { ArgumentError } from '@darkroom/core';
import type { ModelFiles } from './files.ts';
import type { HubOptions } from './hub-options.ts';

/** True for 'name' and 'organisation/name'. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[\w.-]*[\w-])?$/.test(text) && !text.includes('--') && !text.includes('..');
}

/** The files of a local folder, or of a hub id through the shared cache. @throws ArgumentError for other texts */
export async function openModel(idOrDir: string, options: HubOptions = {}): Promise<ModelFiles> {
  if (typeof idOrDir !== 'string' || idOrDir === '') {
    throw new ArgumentError(`model: must be a folder or a hub id, got ${JSON.stringify(idOrDir)}`);
  }
  if (typeof process === 'undefined') {
    throw new ArgumentError(
      `model: '${idOrDir}' is a folder or a hub id, which a browser cannot open; give httpFiles('https://…') instead`,
    );
  }
  const { checkNotLocal, isFolder, localFiles } = await import('./node/local-files.ts');
  if (await isFolder(idOrDir)) return localFiles(idOrDir);
  await checkNotLocal(idOrDir);
  if (!isHubId(idOrDir))
    throw new ArgumentError(
      `model: '${idOrDir}' is not a folder here, nor a hub id like 'organisation/name'`,
    );
  const { hubFiles } = await import('./node/hub-files.ts');
  return hubFiles(idOrDir, options);
}
