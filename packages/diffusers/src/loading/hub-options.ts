// How files come from a hub.

/** Options of opening a model by its hub id. */
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
