// @darkroom/diffusers/worker: the worker's side of a pipeline in a page. Opens a device and a model, draws one call after
// another, and answers a client (../client).

import { DarkroomError } from '@darkroom/core';
import { DiffusionPipeline, pipelineForTask } from '../pipelines/auto.ts';
import type { AnyPipeline, Task } from '../pipelines/auto.ts';
import { unmarked } from './messages.ts';
import type { DrawSettings, Marked, PageImage, Progress, Reply, Request } from './messages.ts';
import { openDevice } from './open-device.ts';
import type { DeviceOpeners } from './open-device.ts';
import { imageOf, pictureOf, previewOf } from './pictures.ts';
import { plainError } from './plain-error.ts';

export type { DeviceOpeners } from './open-device.ts';

/** Options of serve. */
export interface ServeOptions {
  /** Functions that open devices, by name, the preferred one first: `{ webgpu, cpu }`. */
  readonly devices: DeviceOpeners;
  /** Runs once, on the loaded pipeline: memory switches, another scheduler, tracing. */
  readonly prepare?: (pipe: AnyPipeline) => void | Promise<void>;
}

/** The side of a worker that postMessage belongs to; the DOM's types describe only the page's. */
interface Port {
  postMessage(message: Marked<Reply>, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<unknown>) => void): void;
}

/** Answers a client. Called once, in a worker's script. */
export function serve(options: ServeOptions): void {
  const port = globalThis as unknown as Port;
  const say = (reply: Reply, transfer: Transferable[] = []): void =>
    port.postMessage({ darkroom: reply }, transfer);
  const studio = new Studio(options, say);
  port.addEventListener('message', ({ data }) => {
    const request = unmarked<Request>(data);
    if (request) studio.hear(request);
  });
  say({ type: 'serving' });
}

type Say = (reply: Reply, transfer?: Transferable[]) => void;
type Draw = Extract<Request, { type: 'draw' }>;

/** The model that is open, and the calls that wait. */
class Studio {
  readonly #options: ServeOptions;
  readonly #say: Say;
  readonly #stops = new Map<number, AbortController>();
  /** The pipeline of each task, on the same components. */
  readonly #pipes = new Map<Task, AnyPipeline>();
  #pipe: AnyPipeline | undefined;
  /** Ends when all that was asked before is done. */
  #before: Promise<void> = Promise.resolve();

  constructor(options: ServeOptions, say: Say) {
    this.#options = options;
    this.#say = say;
  }

  hear(request: Request): void {
    const { id } = request;
    if (request.type === 'stop') return this.#stops.get(id)?.abort();
    const stop = new AbortController();
    this.#stops.set(id, stop);
    const fail = (error: unknown): void => this.#say({ type: 'failed', id, error: plainError(error) });
    const refuse = (): void => fail(stop.signal.reason);
    // A call that waits for another is given up at once.
    stop.signal.addEventListener('abort', refuse);
    this.#before = this.#before.then(async () => {
      stop.signal.removeEventListener('abort', refuse);
      try {
        if (!stop.signal.aborted) await (request.type === 'open' ? this.#open(request) : this.#draw(request));
      } catch (error) {
        fail(error);
      } finally {
        this.#stops.delete(id);
      }
    });
  }

  #progress(id: number, progress: Progress): void {
    this.#say({ type: 'progress', id, progress });
  }

  async #open({ id, device: wanted, model, load }: Extract<Request, { type: 'open' }>): Promise<void> {
    const { device, report } = await openDevice(this.#options.devices, wanted);
    this.#progress(id, { stage: 'device', device: report });
    const source =
      typeof model === 'string'
        ? model
        : Object.fromEntries(Object.entries(model).map(([path, url]) => [path, new URL(url)]));
    this.#pipe = await DiffusionPipeline.fromPretrained(source, {
      ...load,
      device,
      onDownload: (file, received, total) => this.#progress(id, { stage: 'download', file, received, total }),
      onLoad: (component, loaded, total) => this.#progress(id, { stage: 'load', component, loaded, total }),
    });
    await this.#options.prepare?.(this.#pipe);
    this.#say({ type: 'opened', id, device: report });
  }

  #pipeFor(task: Task): AnyPipeline {
    const known = this.#pipes.get(task);
    if (known) return known;
    const loaded = this.#pipe;
    if (!loaded) throw new DarkroomError('internal: a call came before its model');
    const found = pipelineForTask(loaded, task);
    if (!found) throw new DarkroomError(`generate: a ${loaded.className} draws no ${task}`);
    const pipe = loaded instanceof found ? loaded : found.fromPipe(loaded);
    this.#pipes.set(task, pipe);
    return pipe;
  }

  async #draw({ id, prompt, settings, previewEvery }: Draw): Promise<void> {
    const { signal } = this.#stops.get(id)!;
    const start = performance.now();
    const { image, maskImage, format, quality, parameters, ...call } = settings;
    const pipe = this.#pipeFor(taskOf(settings));
    let [steps, done] = [0, 0];
    pipe.setProgressBarConfig({
      create: (total, description) => {
        if (description === 'compiling') this.#progress(id, { stage: 'compile' });
        else this.#progress(id, { stage: 'draw', step: 0, steps: (steps = total) });
        const update = (step: number): void => {
          if (description !== 'compiling') this.#progress(id, { stage: 'draw', step, steps });
        };
        return { update, stop: () => {} };
      },
    });
    const { images, seeds } = await pipe.generate(prompt, {
      ...call,
      ...(await imagesOf({ image, maskImage })),
      signal,
      callbackOnStepEnd: async (_pipe, _step, _timestep, { latents }) => {
        done++;
        // The last one is about to come as the final picture.
        if (previewEvery === undefined || done >= steps || done % previewEvery !== 0) return;
        const pixels = await previewOf(pipe, latents);
        if (pixels) this.#say({ type: 'preview', id, pixels, step: done }, [pixels.data.buffer]);
      },
    });
    const encoding = defined({ format, quality, parameters });
    const pictures = await Promise.all(images.map((one) => pictureOf(one, encoding)));
    const seconds = (performance.now() - start) / 1000;
    const buffers = pictures.map(({ pixels }) => pixels.data.buffer);
    this.#say({ type: 'drawn', id, pictures, seeds, seconds }, buffers);
  }
}

const taskOf = ({ image, maskImage }: DrawSettings): Task =>
  maskImage ? 'inpainting' : image ? 'image-to-image' : 'text-to-image';

const defined = (settings: object): DrawSettings =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));

/** The pictures of a call as Images. */
async function imagesOf(
  given: Readonly<Record<string, PageImage | undefined>>,
): Promise<Record<string, unknown>> {
  const entries = Object.entries(given).filter(([, picture]) => picture !== undefined);
  return Object.fromEntries(
    await Promise.all(entries.map(async ([name, picture]) => [name, await imageOf(picture!, name)] as const)),
  );
}
