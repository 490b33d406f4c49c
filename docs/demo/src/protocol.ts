// What page and worker say to each other, and nothing else. Everything here can be posted: no tensors, no errors.

export type DeviceName = 'webgpu' | 'cpu';

/** What a user asks for. */
export interface Order {
  readonly prompt: string;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
}

/** RGBA, rows from the top: what a canvas takes. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/** Page → worker. First one `open`, then any number of others. */
export type Request =
  | { readonly type: 'open'; readonly device: DeviceName; readonly model: string }
  | { readonly type: 'generate'; readonly order: Order }
  | { readonly type: 'stop' };

/** Worker → page. `open` ends in ready, noDevice or error; `generate` in done, stopped or error. */
export type Reply =
  | { readonly type: 'loading'; readonly what: string; readonly loaded: number; readonly total: number }
  | { readonly type: 'ready'; readonly device: string }
  | {
      readonly type: 'noDevice';
      readonly why: 'no api' | 'insecure' | 'no adapter';
      readonly message: string;
    }
  | { readonly type: 'progress'; readonly done: number; readonly total: number }
  | { readonly type: 'preview'; readonly picture: Picture }
  | {
      readonly type: 'done';
      readonly picture: Picture;
      readonly png: Uint8Array<ArrayBuffer>;
      readonly seconds: number;
    }
  | { readonly type: 'stopped' }
  | { readonly type: 'error'; readonly message: string };

/** The side of the worker that `postMessage` and `onmessage` belong to; the DOM's types describe only the page's. */
export interface WorkerPort {
  postMessage(reply: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<Request>) => void) | null;
}
