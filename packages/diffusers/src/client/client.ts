// The page's half: asks a worker to open a model and to draw, and gives what it answers. Computes nothing.

import { ArgumentError, DarkroomError, describe, DeviceError } from '@darkroom/core';
import type { ModelAddresses } from '../loading/files.ts';
import type { PictureParameters } from '../parameters/parameters.ts';
import { unmarked } from './messages.ts';
import type {
  DeviceReport,
  DrawSettings,
  Marked,
  PageImage,
  Pixels,
  PostedLoadOptions,
  Progress,
  Reply,
  Request,
} from './messages.ts';
import { errorOf } from './plain-error.ts';

/** Options of createClient; those of loading are those of fromPretrained. */
export interface ClientOptions extends PostedLoadOptions {
  /** Makes the worker, which calls serve(): `() => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })`. */
  readonly worker: () => Worker;
  /** A hub id, the address of a folder (https://…, or ./… from the page's own), or addresses of files as a model's package exports them. */
  readonly model: string | ModelAddresses;
  /** A name of serve()'s devices. Default: the first that opens. */
  readonly device?: string | undefined;
  /** Progress of opening. */
  readonly onProgress?: (progress: Progress) => void;
  /** Ends the opening. */
  readonly signal?: AbortSignal;
}

/** Options of a client's call. */
export interface GenerateOptions extends DrawSettings {
  /** Ends the call after its current step. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** The first picture as it stands after a step. Costs a decoding each. Of pipelines with a UNet. */
  readonly onPreview?: (pixels: ImageData, step: number) => void;
  /** Steps between two previews; default 1. */
  readonly previewEvery?: number;
}

/** A picture that was drawn. */
export interface DrawnPicture {
  /** For a canvas: `context.putImageData(pixels, 0, 0)`. */
  readonly pixels: ImageData;
  /** The encoded picture, to be shown or saved: `URL.createObjectURL(file)`. */
  readonly file: Blob;
  /** How it was drawn. */
  readonly parameters: PictureParameters | undefined;
}

/** The result of a client's call. */
export interface Drawn {
  readonly images: readonly DrawnPicture[];
  /** The seeds used: one, or one for each picture. */
  readonly seeds: readonly (number | bigint)[];
  /** What the worker took, from the prompt to the files. */
  readonly seconds: number;
  readonly device: DeviceReport;
}

/** A pipeline in a worker. */
export interface Client {
  /** Where it computes, and why there. */
  readonly device: DeviceReport;
  /**
   * Draws pictures; from `image` image to image, with `maskImage` inpainting. Calls are drawn one after another.
   * @throws the worker's errors, in their classes; the signal's reason
   */
  generate(prompt: string | readonly string[], options?: GenerateOptions): Promise<Drawn>;
  /** Ends the worker and frees its memory. Calls that run are rejected. */
  dispose(): void;
}

/**
 * Opens a model in a worker.
 * @throws DeviceError if no device opens, FormatError and others for the model, in their classes; the signal's reason
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const { worker, model, device, onProgress, signal, ...load } = options;
  if (typeof worker !== 'function')
    throw new ArgumentError(
      `createClient: worker must be a function that makes one, got ${describe(worker)}`,
    );
  signal?.throwIfAborted();
  const line = new WorkerLine(worker());
  const abort = (): void => line.close(signal!.reason);
  signal?.addEventListener('abort', abort);
  try {
    await line.serving;
    const opened = await line.ask(
      (id) => ({ type: 'open', id, device, model: postable(model), load }),
      (reply) => reply.type === 'progress' && onProgress?.(reply.progress),
    );
    return new WorkerClient(line, (opened as Extract<Reply, { type: 'opened' }>).device);
  } catch (error) {
    line.close(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Addresses are absolute in a worker, whose own address is another than the page's. */
const postable = (model: string | ModelAddresses): string | Readonly<Record<string, string>> => {
  if (typeof model === 'string')
    return /^\.{0,2}\//.test(model) ? new URL(model, document.baseURI).href : model;
  return Object.fromEntries(Object.entries(model).map(([path, url]) => [path, url.href]));
};

class WorkerClient implements Client {
  readonly device: DeviceReport;
  readonly #line: WorkerLine;

  constructor(line: WorkerLine, device: DeviceReport) {
    this.#line = line;
    this.device = device;
  }

  async generate(prompt: string | readonly string[], options: GenerateOptions = {}): Promise<Drawn> {
    const { signal, onProgress, onPreview, previewEvery = 1, ...settings } = options;
    signal?.throwIfAborted();
    if (!(Number.isInteger(previewEvery) && previewEvery >= 1))
      throw new ArgumentError(`previewEvery: must be an integer >= 1, got ${describe(previewEvery)}`);
    let call = 0;
    const stop = (): void => this.#line.post({ type: 'stop', id: call });
    signal?.addEventListener('abort', stop);
    try {
      const answer = await this.#line.ask(
        (id) => {
          call = id;
          return { type: 'draw', id, prompt, settings, previewEvery: onPreview ? previewEvery : undefined };
        },
        (reply) => {
          if (reply.type === 'progress') onProgress?.(reply.progress);
          if (reply.type === 'preview') onPreview?.(imageData(reply.pixels), reply.step);
        },
        [settings.image, settings.maskImage].filter(isBitmap),
      );
      const { pictures, seeds, seconds } = answer as Extract<Reply, { type: 'drawn' }>;
      const images = pictures.map(({ pixels, ...rest }) => ({ pixels: imageData(pixels), ...rest }));
      return { images, seeds, seconds, device: this.device };
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  dispose(): void {
    this.#line.close(new DarkroomError('client: was disposed'));
  }
}

const imageData = ({ data, width, height }: Pixels): ImageData => new ImageData(data, width, height);
const isBitmap = (image: PageImage | undefined): image is ImageBitmap =>
  typeof ImageBitmap !== 'undefined' && image instanceof ImageBitmap;

/** A question that waits for its answer. */
interface Waiting {
  readonly done: (reply: Reply) => void;
  readonly fail: (error: unknown) => void;
  readonly hear: (reply: Reply) => void;
}

/** Questions to a worker and their answers, by id. */
class WorkerLine {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #closed: { readonly reason: unknown } | undefined;
  /** Resolves when the worker listens; id 0. */
  readonly serving: Promise<Reply>;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.serving = new Promise((done, fail) => this.#waiting.set(0, { done, fail, hear: () => {} }));
    worker.addEventListener('message', ({ data }) => {
      const reply = unmarked<Reply>(data);
      if (reply) this.#hear(reply);
    });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      const what = event.message || 'its script could not be loaded';
      this.close(new DeviceError(`client: the worker failed: ${what}`));
    });
    worker.addEventListener('messageerror', () =>
      this.close(new DeviceError("client: the worker's answer could not be read")),
    );
  }

  #hear(reply: Reply): void {
    const id = reply.type === 'serving' ? 0 : reply.id;
    const waiting = this.#waiting.get(id);
    if (reply.type === 'progress' || reply.type === 'preview') return waiting?.hear(reply);
    this.#waiting.delete(id);
    if (reply.type === 'failed') waiting?.fail(errorOf(reply.error));
    else waiting?.done(reply);
  }

  post(request: Request, transfer: Transferable[] = []): void {
    this.#worker.postMessage({ darkroom: request } satisfies Marked<Request>, transfer);
  }

  async ask(
    request: (id: number) => Request,
    hear: (reply: Reply) => void,
    transfer: Transferable[] = [],
  ): Promise<Reply> {
    if (this.#closed) throw this.#closed.reason;
    const id = this.#next++;
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail, hear });
      try {
        this.post(request(id), transfer);
      } catch (error) {
        this.#waiting.delete(id);
        fail(error);
      }
    });
  }

  close(reason: unknown): void {
    if (this.#closed) return;
    this.#closed = { reason };
    this.#worker.terminate();
    for (const { fail } of this.#waiting.values()) fail(reason);
    this.#waiting.clear();
  }
}
