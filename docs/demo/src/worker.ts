// Everything heavy, off the page's thread: device, model, pipeline. Takes Requests, gives Replies; touches no DOM.

import './dispose-symbol.ts';
import { httpFiles, StableDiffusionPipeline } from '@darkroom/diffusers';
import { openDevice } from './open-device.ts';
import { preview, toPicture } from './preview.ts';
import type { Order, Picture, Reply, Request, WorkerPort } from './protocol.ts';

const port = globalThis as unknown as WorkerPort;
let pipe: StableDiffusionPipeline | undefined;
let running: AbortController | undefined;

const say = (reply: Reply, ...transfer: Transferable[]): void => port.postMessage(reply, transfer);
const explain = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);

port.onmessage = ({ data }) => {
  if (data.type === 'stop') running?.abort();
  else answer(data).catch((error: unknown) => say({ type: 'error', message: explain(error) }));
};

async function answer(request: Exclude<Request, { type: 'stop' }>): Promise<void> {
  if (request.type === 'generate') return generate(request.order);
  const device = await openDevice(request.device);
  if ('type' in device) return say(device);
  pipe = await StableDiffusionPipeline.fromPretrained(httpFiles(request.model), {
    device,
    onLoad: (what, loaded, total) => say({ type: 'loading', what, loaded, total }),
  });
  say({ type: 'ready', device: `${device.backend.name}: ${device.caps.fingerprint}` });
}

async function generate({ prompt, seed, steps, guidance }: Order): Promise<void> {
  if (!pipe || running) throw new Error(pipe ? 'a picture is already on its way' : 'no model is loaded');
  const drawing = pipe;
  const stop = (running = new AbortController());
  const start = performance.now();
  let total = 0;
  pipe.setProgressBarConfig({
    create: (count) => {
      total = count;
      say({ type: 'progress', done: 0, total });
      return { update: (done) => say({ type: 'progress', done, total }), stop: () => {} };
    },
  });
  try {
    const { images } = await pipe(prompt, {
      seed,
      numInferenceSteps: steps,
      guidanceScale: guidance,
      signal: stop.signal,
      callbackOnStepEnd: async (_, step, _timestep, { latents }) => {
        // The last one is about to come as the final picture.
        if (step + 1 < total) show(await preview(drawing, latents));
      },
    });
    const picture = toPicture(images[0]!);
    const png = new Uint8Array(images[0]!.toPng());
    const seconds = (performance.now() - start) / 1000;
    say({ type: 'done', picture, png, seconds }, picture.data.buffer, png.buffer);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    say({ type: 'stopped' });
  } finally {
    running = undefined;
  }
}

const show = (picture: Picture): void => say({ type: 'preview', picture }, picture.data.buffer);
