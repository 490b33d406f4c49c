// Opening a checkpoint by folder or hub id. What touches disk and network is in node/, loaded when it is needed.
// A folder wins over a hub id of the same name, as in diffusers.

import { ArgumentError } from '@darkroom/core';
import type { ModelFiles } from './files.ts';

export interface HubOptions {
  /** Branch, tag or commit; default 'main'. */
  readonly revision?: string;
  /** Default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Use only what is on disk already. HF_HUB_OFFLINE=1 (or true, yes, on) does the same. */
  readonly localFilesOnly?: boolean;
  /** Access token; default HF_TOKEN, else the file that `hf auth login` writes. Never part of a message. */
  readonly token?: string;
  /** Default: HF_ENDPOINT, else https://huggingface.co. A password in it is sent to it, and never part of a message. */
  readonly endpoint?: string;
  /** Seconds that the hub may take to say what it has; default HF_HUB_ETAG_TIMEOUT, else 10. */
  readonly etagTimeout?: number;
  /** Seconds that a download may stand still; default HF_HUB_DOWNLOAD_TIMEOUT, else 10. */
  readonly downloadTimeout?: number;
  /** Progress of each file that has to be downloaded, in bytes; `total` counts what an earlier try left. */
  readonly onDownload?: (file: string, received: number, total: number) => void;
}

/** 'name' or 'organisation/name'. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[\w.-]*[\w-])?$/.test(text) && !text.includes('--') && !text.includes('..');
}

/** The files of a local folder, or of a hub id through the shared cache. Throws ArgumentError for what is neither. */
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
