// The page's logic: reads the form, shows what the worker tells. Computes nothing itself.

import { element, elements } from './elements.ts';
import { describeNoDevice } from './no-device.ts';
import type { DeviceName, Order, Picture, Reply, Request } from './protocol.ts';

const ui = elements();
const modelUrl = new URL('./models/emoji-64/', document.baseURI).href;
const wanted = new URLSearchParams(location.search).get('device') ?? 'webgpu';

/** What the page is doing; the form follows it. */
type State = 'opening' | 'ready' | 'drawing' | 'stopping' | 'broken';
let state: State = 'opening';
let savedUrl = '';
let order: Order | undefined;

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'darkroom' });
const ask = (request: Request): void => worker.postMessage(request);

function become(next: State): void {
  state = next;
  document.body.dataset['state'] = next;
  const drawing = next === 'drawing' || next === 'stopping';
  ui.go.textContent = drawing ? 'Stop' : 'Generate';
  ui.go.disabled = next === 'opening' || next === 'broken' || next === 'stopping';
  ui.inputs.disabled = drawing;
  ui.picture.setAttribute('aria-busy', String(drawing));
}

function status(text: string, done?: number, total?: number): void {
  ui.status.textContent = text;
  ui.progress.hidden = done === undefined;
  if (done !== undefined) ui.progress.value = total ? done / total : 0;
}

function fail(message: string): void {
  ui.error.textContent = message;
  ui.error.hidden = false;
}

function paint({ width, height, data }: Picture): void {
  const { canvas } = ui;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext('2d')!.putImageData(new ImageData(data, width, height), 0, 0);
}

function offer(png: Uint8Array<ArrayBuffer>, { prompt, seed }: Order): void {
  if (savedUrl) URL.revokeObjectURL(savedUrl);
  savedUrl = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
  ui.save.href = savedUrl;
  ui.save.download = `${prompt.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60) || 'picture'}-${seed}.png`;
  ui.save.hidden = false;
}

function hear(reply: Reply): void {
  switch (reply.type) {
    case 'loading':
      return status(`Loading the model: ${reply.what.replace('_', ' ')} …`, reply.loaded, reply.total);
    case 'ready':
      ui.device.textContent = reply.device;
      become('ready');
      return status('Ready.');
    case 'noDevice':
      become('broken');
      status('This page cannot draw here.');
      describeNoDevice(ui.noDevice, reply);
      return ui.noDevice.focus();
    case 'progress':
      return status(
        reply.done === 0 ? 'Reading the prompt …' : `Step ${reply.done} of ${reply.total}`,
        reply.done,
        reply.total,
      );
    case 'preview':
      return paint(reply.picture);
    case 'done':
      paint(reply.picture);
      offer(reply.png, order!);
      ui.canvas.setAttribute('aria-label', `Picture of: ${order!.prompt}`);
      become('ready');
      return status(`Done in ${reply.seconds.toFixed(1)} s.`);
    case 'stopped':
      become('ready');
      return status('Stopped. The picture is as far as it got.');
    case 'error':
      fail(reply.message);
      status(state === 'opening' ? 'The model could not be opened.' : 'No picture was made.');
      return become(state === 'opening' ? 'broken' : 'ready');
  }
}

function submit(event: SubmitEvent): void {
  event.preventDefault();
  if (state === 'drawing') {
    become('stopping');
    status('Stopping after this step …');
    return ask({ type: 'stop' });
  }
  if (state !== 'ready') return;
  order = {
    prompt: ui.prompt.value.trim(),
    seed: ui.seed.valueAsNumber,
    steps: ui.steps.valueAsNumber,
    guidance: ui.guidance.valueAsNumber,
  };
  ui.error.hidden = true;
  ui.save.hidden = true;
  ui.canvas.setAttribute('aria-label', `Picture on its way: ${order.prompt}`);
  become('drawing');
  ask({ type: 'generate', order });
}

/** The subjects the model knows, as suggestions; the page works without them. */
async function suggest(): Promise<void> {
  const response = await fetch(new URL('subjects.txt', modelUrl));
  if (!response.ok) return;
  for (const subject of (await response.text()).split('\n').filter((line) => line.trim() !== '')) {
    const option = element('option');
    option.value = `${/^[aeiou]/.test(subject) ? 'an' : 'a'} ${subject}`;
    ui.subjects.append(option);
  }
}

worker.onmessage = ({ data }: MessageEvent<Reply>) => hear(data);
worker.onerror = (event) => {
  fail(`The page's worker failed: ${event.message || 'its script could not be loaded'}`);
  become('broken');
  status('Reload the page to try again.');
};
ui.form.addEventListener('submit', submit);
ui.dice.addEventListener('click', () => {
  ui.seed.value = String(Math.floor(Math.random() * 2 ** 32));
});
become('opening');
suggest().catch(() => {});
if (wanted === 'webgpu' || wanted === 'cpu') {
  status('Opening the device …');
  ask({ type: 'open', device: wanted satisfies DeviceName, model: modelUrl });
} else {
  fail(`The address asks for device '${wanted}'; known are webgpu and cpu.`);
  become('broken');
}
