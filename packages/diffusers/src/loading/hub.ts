// Opens a checkpoint by folder, hub id or address. Code that uses the disk or the hub is in node/ and page/, imported on
// demand.
// A folder wins over a hub id of the same name, as in diffusers.

import { ArgumentError } from '@darkroom/core';
import type { ModelAddresses, ModelFiles, ModelSource } from './files.ts';
import { httpFiles } from './http-files.ts';
import type { HubOptions } from './hub-options.ts';

/** True for 'name' and 'organisation/name'. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[\w.-]*[\w-])?$/.test(text) && !text.includes('--') && !text.includes('..');
}

const isNode = (): boolean => typeof process !== 'undefined' && process.versions?.node !== undefined;

/**
 * The files of a local folder, of a hub id through the shared cache, below an http(s) address, or at the addresses that
 * a package exports; in a page through the browser's cache. Files that are open already are given as they are.
 * @throws ArgumentError for other texts
 */
export async function openModel(idOrDir: ModelSource, options: HubOptions = {}): Promise<ModelFiles> {
  if (typeof idOrDir === 'object' && idOrDir !== null)
    return typeof idOrDir['exists'] === 'function'
      ? (idOrDir as ModelFiles)
      : openAddresses(idOrDir as ModelAddresses, options);
  if (typeof idOrDir !== 'string' || idOrDir === '') {
    throw new ArgumentError(`model: must be a folder or a hub id, got ${JSON.stringify(idOrDir)}`);
  }
  const isAddress = /^https?:\/\//.test(idOrDir);
  if (!isNode()) {
    const { openHubModel, openWebAddresses } = await import('./page/open.ts');
    if (isAddress) return openWebAddresses(idOrDir, options);
    if (isHubId(idOrDir)) return openHubModel(idOrDir, options);
    throw new ArgumentError(
      `model: '${idOrDir}' is neither a hub id like 'organisation/name' nor an address like https://…, and a page opens no folders`,
    );
  }
  if (isAddress) return httpFiles(idOrDir);
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
async function openAddresses(addresses: ModelAddresses, options: HubOptions): Promise<ModelFiles> {
  const index = addresses['model_index.json'];
  if (!(index instanceof URL))
    throw new ArgumentError(
      "model: addresses of files must name 'model_index.json' with a URL, they name none",
    );
  if (index.protocol !== 'file:') {
    if (isNode()) return httpFiles(addresses);
    const { openWebAddresses } = await import('./page/open.ts');
    return openWebAddresses(addresses, options);
  }
  const { folderOf, localFiles } = await import('./node/local-files.ts');
  return localFiles(folderOf(index));
}
