// Opens a checkpoint by folder or hub id. Code that uses the disk or the network is in node/, imported on demand.
// A folder wins over a hub id of the same name, as in diffusers.

import { ArgumentError } from '@darkroom/core';
import type { ModelAddresses, ModelFiles, ModelSource } from './files.ts';
import { httpFiles } from './http-files.ts';
import type { HubOptions } from './hub-options.ts';

/** True for 'name' and 'organisation/name'. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[\w.-]*[\w-])?$/.test(text) && !text.includes('--') && !text.includes('..');
}

/**
 * The files of a local folder, of a hub id through the shared cache, or at the addresses that a package exports. Files
 * that are open already are given as they are.
 * @throws ArgumentError for other texts
 */
export async function openModel(idOrDir: ModelSource, options: HubOptions = {}): Promise<ModelFiles> {
  if (typeof idOrDir === 'object' && idOrDir !== null)
    return typeof idOrDir['exists'] === 'function'
      ? (idOrDir as ModelFiles)
      : openAddresses(idOrDir as ModelAddresses);
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

/** The files of a package: all below one folder where they are on disk. */
async function openAddresses(addresses: ModelAddresses): Promise<ModelFiles> {
  const index = addresses['model_index.json'];
  if (!(index instanceof URL))
    throw new ArgumentError(
      "model: addresses of files must name 'model_index.json' with a URL, they name none",
    );
  if (index.protocol !== 'file:') return httpFiles(addresses);
  const { folderOf, localFiles } = await import('./node/local-files.ts');
  return localFiles(folderOf(index));
}
