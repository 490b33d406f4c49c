// Options of loading from a hub.

/** Options of opening a model by its hub id. */
export interface HubOptions {
  /** Branch, tag or commit; default 'main'. */
  readonly revision?: string;
  /** Not in a page. Default: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Use only files in the cache. HF_HUB_OFFLINE=1 (or true, yes, on) does the same. */
  readonly localFilesOnly?: boolean;
  /** Access token; default HF_TOKEN, else the file that `hf auth login` writes. Never part of a message. */
  readonly token?: string;
  /** Default: HF_ENDPOINT, else https://huggingface.co. A password in it is sent to it, and never part of a message. */
  readonly endpoint?: string;
  /** Seconds to wait for the hub's description of a model or file; default HF_HUB_ETAG_TIMEOUT, else 10. */
  readonly etagTimeout?: number;
  /** Seconds that a download may stall; default HF_HUB_DOWNLOAD_TIMEOUT, else 10. */
  readonly downloadTimeout?: number;
  /**
   * In a page: bytes of model files that the browser keeps at most, the models used last; 0 keeps none. Default 16 GiB,
   * within what the browser allows the page.
   */
  readonly cacheBytes?: number;
  /** Progress of each downloaded file in bytes; `received` includes the bytes of an interrupted earlier download. */
  readonly onDownload?: (file: string, received: number, total: number) => void;
}
