// The page's logic: reads the form, has a worker draw, shows what comes. Computes nothing itself.

import { createClient } from '@darkroom/diffusers/client';
import type { Client, Drawn, Progress } from '@darkroom/diffusers/client';
import { emoji64, subjects } from '@darkroom/emoji-64';
import { element, elements } from './elements.ts';
import exampleUrl from './example.png';

/** What a user asks for. */
interface Order {
  readonly prompt: string;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
}
/** What src/example.png shows: the form's first content. */
const example: Order = { prompt: 'a fox on a blue background', seed: 7, steps: 25, guidance: 4 };

const ui = elements();
let client: Client | undefined;
let running: AbortController | undefined;
let savedUrl = '';

function become(state: 'opening' | 'ready' | 'drawing' | 'broken'): void {
  document.body.dataset['state'] = state;
  // Never `disabled`: that would take the keyboard's focus away.
  ui.go.setAttribute('aria-disabled', String(state === 'opening' || state === 'broken'));
  if (state !== 'drawing' && document.activeElement === ui.stop) ui.go.focus();
  ui.stop.hidden = state !== 'drawing';
  ui.picture.setAttribute('aria-busy', String(state === 'drawing'));
}

function status(text: string, done?: number, total?: number): void {
  ui.status.textContent = text;
  ui.progress.hidden = done === undefined;
  if (done !== undefined) ui.progress.value = total ? done / total : 0;
}

function fail(error: unknown): void {
  ui.error.textContent = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  ui.error.hidden = false;
}

function paint(pixels: ImageData): void {
  const { canvas } = ui;
  const { width, height } = pixels;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext('2d')!.putImageData(pixels, 0, 0);
}

function tell({ prompt, seed }: Order, what: string): void {
  ui.caption.textContent = `${prompt}, seed ${seed}`;
  ui.canvas.setAttribute('aria-label', `${what}: ${prompt}`);
}

function offer(href: string, { prompt, seed }: Order): void {
  if (savedUrl) URL.revokeObjectURL(savedUrl);
  savedUrl = href.startsWith('blob:') ? href : '';
  ui.save.href = href;
  ui.save.download = `${prompt.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60) || 'picture'}-${seed}.png`;
  ui.save.hidden = false;
}

function hear(progress: Progress): void {
  switch (progress.stage) {
    case 'device':
      ui.device.textContent = `${progress.device.name}: ${progress.device.description}`;
      ui.note.textContent = [progress.device.why, progress.device.note].filter(Boolean).join('; ');
      ui.note.hidden = ui.note.textContent === '';
      return;
    case 'download':
      return status(`Downloading ${progress.file} …`, progress.received, progress.total);
    case 'load':
      return status(
        `Loading the model: ${progress.component.replace('_', ' ')} …`,
        progress.loaded,
        progress.total,
      );
    case 'compile':
      return status('Compiling for this GPU …', 0);
    case 'draw':
      return status(
        progress.step === 0 ? 'Reading the prompt …' : `Step ${progress.step} of ${progress.steps}`,
        progress.step,
        progress.steps,
      );
  }
}

async function draw(): Promise<void> {
  if (!client) return;
  // A new wish ends the one before.
  running?.abort();
  const mine = (running = new AbortController());
  const order: Order = {
    prompt: ui.prompt.value.trim(),
    seed: ui.seed.valueAsNumber,
    steps: ui.steps.valueAsNumber,
    guidance: ui.guidance.valueAsNumber,
  };
  ui.error.hidden = true;
  ui.save.hidden = true;
  become('drawing');
  tell(order, 'Picture on its way');
  const isCurrent = (): boolean => running === mine;
  try {
    const drawn = await client.generate(order.prompt, {
      seed: order.seed,
      numInferenceSteps: order.steps,
      guidanceScale: order.guidance,
      signal: mine.signal,
      onProgress: (progress) => isCurrent() && hear(progress),
      onPreview: (pixels) => isCurrent() && paint(pixels),
    });
    if (isCurrent()) show(drawn, order);
  } catch (error) {
    if (!isCurrent()) return;
    if (mine.signal.aborted) status('Stopped. The picture is as far as it got.');
    else {
      fail(error);
      status('No picture was made.');
    }
  }
  if (isCurrent()) become('ready');
}

function show({ images: [image], seconds }: Drawn, order: Order): void {
  paint(image!.pixels);
  offer(URL.createObjectURL(image!.file), order);
  tell(order, 'Picture of');
  status(`Done in ${seconds.toFixed(1)} s.`);
}

/** The subjects as buttons, each of which fills the prompt and draws. */
function fillGallery(): void {
  const background = (): string => / on an? \w+ background$/.exec(ui.prompt.value)?.[0] ?? '';
  ui.subjects.append(
    ...subjects.map((subject) => {
      const button = element('button', subject);
      button.type = 'button';
      button.addEventListener('click', () => {
        ui.prompt.value = `${/^[aeiou]/.test(subject) ? 'an' : 'a'} ${subject}${background()}`;
        ui.picture.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
        ui.form.requestSubmit();
      });
      const item = element('li');
      item.append(button);
      return item;
    }),
  );
}

/** The picture that the form's first content gives, drawn before and kept beside the page. */
async function showExample(): Promise<void> {
  const picture = new Image();
  picture.src = exampleUrl;
  await picture.decode();
  if (running) return;
  Object.assign(ui.canvas, { width: picture.width, height: picture.height });
  ui.canvas.getContext('2d')!.drawImage(picture, 0, 0);
  tell(example, 'Example');
  offer(exampleUrl, example);
}

async function open(): Promise<void> {
  become('opening');
  status('Opening the device …');
  try {
    client = await createClient({
      worker: () => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'darkroom' }),
      model: emoji64,
      device: new URLSearchParams(location.search).get('device') ?? undefined,
      onProgress: hear,
    });
    become('ready');
    status('Ready. Choose a subject, or write your own.');
  } catch (error) {
    fail(error);
    become('broken');
    status('This page cannot draw here.');
  }
}

ui.form.addEventListener('submit', (event) => {
  event.preventDefault();
  void draw();
});
ui.stop.addEventListener('click', () => {
  running?.abort();
  status('Stopping after this step …');
});
ui.dice.addEventListener('click', () => {
  ui.seed.value = String(Math.floor(Math.random() * 2 ** 32));
});
fillGallery();
showExample().catch(() => {});
void open();
