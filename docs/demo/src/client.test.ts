// The client and its worker as an application has them: bundled by esbuild, in Chromium, without isolation. What crosses
// between the two arrives whole: errors in their classes, pictures in both directions, an abort.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpu } from '@darkroom/backend-cpu';
import { pagePixelTolerance } from '@darkroom/core/testing';
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  Image,
  StableDiffusionPipeline,
} from '@darkroom/diffusers';
import type { StableDiffusionOutput } from '@darkroom/diffusers';
import { serveModels } from './model-server.ts';
import type { ModelServer } from './model-server.ts';
import { chromiumIsMissing, openChromium } from './testing.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const model = fileURLToPath(new URL('../../../models/emoji-64', import.meta.url));
const modelFiles = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'text_encoder/config.json',
  'text_encoder/model.safetensors',
  'tokenizer/merges.txt',
  'tokenizer/special_tokens_map.json',
  'tokenizer/tokenizer_config.json',
  'tokenizer/vocab.json',
  'unet/config.json',
  'unet/diffusion_pytorch_model.safetensors',
  'vae/config.json',
  'vae/diffusion_pytorch_model.safetensors',
];
const page = `
import { ArgumentError, DarkroomError, DeviceError, FormatError } from '@darkroom/core';
import { createClient } from '@darkroom/diffusers/client';
const worker = () => new Worker('/worker.js', { type: 'module' });
const open = (options = {}) => createClient({ worker, model: 'org/emoji', endpoint: location.origin + '/hub', ...options });
const classes = { ArgumentError, DarkroomError, DeviceError, FormatError, RangeError };
/** A rejection's class and message. */
const failure = (call) => call.then(() => 'none', (error) =>
  [error instanceof (classes[error.name] ?? Error) ? error.name : 'another class than ' + error.name, error.message]);
const square = (colour, [x, y, w, h] = [0, 0, 64, 64]) => {
  const canvas = new OffscreenCanvas(64, 64);
  const context = canvas.getContext('2d');
  context.fillStyle = 'black';
  context.fillRect(0, 0, 64, 64);
  context.fillStyle = colour;
  context.fillRect(x, y, w, h);
  return canvas;
};
Object.assign(globalThis, { createClient, failure, open, square });
`;
const worker = `
import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { serve } from '@darkroom/diffusers/worker';
serve({ devices: { webgpu, cpu }, prepare: (pipe) => pipe.useScheduler('euler') });
`;

const bundled = async (
  contents: string,
  conditions: readonly string[] = ['@darkroom/source'],
): Promise<Buffer> => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    conditions: [...conditions],
    write: false,
    logLevel: 'error',
  });
  return Buffer.from(outputFiles[0]!.contents);
};

test('the page does not carry the pipeline: that is the worker', async () => {
  const client = "import { createClient } from '@darkroom/diffusers/client'; globalThis.make = createClient;";
  const { length } = await bundled(client);
  expect(length).toBeLessThan(16 * 1024);
});

describe.skipIf(chromiumIsMissing())('client', () => {
  let server: ModelServer;
  let browser: Browser;
  let tab: Page;
  const said: string[] = [];
  /** Evaluates a function's body in the page, where `client` is open. */
  const run = <T>(body: string): Promise<T> => tab.evaluate(`(async () => { ${body} })()`);

  beforeAll(async () => {
    const files = modelFiles.map((path) => [`emoji/${path}`, readFileSync(join(model, path))] as const);
    const script = (body: Buffer): { type: string; body: Buffer } => ({ type: 'text/javascript', body });
    const html =
      '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>';
    const pages = new Map([
      ['/', { type: 'text/html', body: Buffer.from(html) }],
      ['/page.js', script(await bundled(page))],
      ['/worker.js', script(await bundled(worker))],
    ]);
    server = await serveModels(new Map(files), pages);
    browser = await openChromium({ webgpu: false });
    tab = await browser.newPage();
    tab.setDefaultTimeout(1_800_000);
    tab.on('console', (message) => said.push(message.text()));
    await tab.goto(`http://127.0.0.1:${server.port}/`);
    await tab.waitForFunction('globalThis.open');
    await run(
      'globalThis.heard = []; globalThis.client = await open({ onProgress: (one) => heard.push(one) });',
    );
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** What a page is told of a device, and of the progress of opening. */
  interface Heard {
    readonly stage: string;
    readonly device?: { readonly name: string; readonly why?: string; readonly note?: string };
  }

  test('opening tells of the device and why it is this one, of downloads and of loading', async () => {
    const heard = await run<Heard[]>('return heard');
    expect(new Set(heard.map(({ stage }) => stage))).toEqual(new Set(['device', 'download', 'load']));
    expect(heard[0]!.device).toEqual(await run('return client.device'));
    expect(heard[0]!.device).toMatchObject({
      name: 'cpu',
      why: expect.stringContaining('webgpu: no adapter found; ') as string,
      note: expect.stringContaining('one thread computes') as string,
    });
    expect(heard.filter(({ stage }) => stage === 'device')).toHaveLength(1);
    expect(said).toEqual([]);
  });

  /** The pixels of a call in the page, against those of the same call here. */
  async function expectLike(
    call: string,
    here: (pipe: StableDiffusionPipeline) => Promise<StableDiffusionOutput>,
  ): Promise<void> {
    const [width, data] = await run<[number, number[]]>(
      `const { images: [{ pixels }] } = ${call}; return [pixels.width, [...pixels.data]]`,
    );
    const device = await cpu({ threads: 1 });
    const pipe = await StableDiffusionPipeline.fromPretrained(model, { device });
    pipe.useScheduler('euler');
    const [image] = (await here(pipe)).images;
    pipe.dispose();
    device[Symbol.dispose]();
    expect([width, data.length]).toEqual([image!.width, image!.width * image!.height * 4]);
    const largest = Math.max(
      ...data.map((value, i) =>
        i % 4 === 3 ? 255 - value : Math.abs(value - image!.data[(i >> 2) * 3 + (i % 4)]!),
      ),
    );
    expect(largest).toBeLessThanOrEqual(pagePixelTolerance.largest);
  }
  const settings = { seed: 3, numInferenceSteps: 4, guidanceScale: 4 };
  const posted = JSON.stringify(settings).slice(1, -1);
  /** The square of the page as a picture here. */
  const square = (colour: readonly number[], [x, y, w, h]: readonly number[]): Image => {
    const data = new Uint8ClampedArray(64 * 64 * 3);
    for (let row = y!; row < y! + h!; row++)
      for (let column = x!; column < x! + w!; column++) data.set(colour, 3 * (row * 64 + column));
    return new Image(64, 64, data);
  };
  const whole = [0, 0, 64, 64];

  test('text to image, with previews and steps, as the same call here', async () => {
    await expectLike(
      `await client.generate('a fox', { ${posted},
        onPreview: (pixels, step) => (globalThis.previews ??= []).push([step, pixels.width]),
        onProgress: ({ stage, step, steps }) => (globalThis.steps ??= []).push([stage, step, steps]) })`,
      (pipe) => pipe('a fox', settings),
    );
    expect(await run('return previews')).toEqual([
      [1, 64],
      [2, 64],
      [3, 64],
    ]);
    expect(await run('return steps')).toEqual([0, 1, 2, 3, 4].map((step) => ['draw', step, 4]));
  });

  test('image to image from a bitmap, which is taken over; inpainting from pixels and a file', async () => {
    await expectLike(
      `await client.generate('a fox', { ${posted}, strength: 0.5, image: (globalThis.bitmap = square('red').transferToImageBitmap()) })`,
      (pipe) =>
        AutoPipelineForImage2Image.fromPipe(pipe).generate('a fox', {
          ...settings,
          strength: 0.5,
          image: square([255, 0, 0], whole),
        } as never),
    );
    expect(await run('return bitmap.width')).toBe(0);
    await expectLike(
      `await client.generate('a fox', { ${posted}, image: square('red').getContext('2d').getImageData(0, 0, 64, 64), maskImage: await square('white', [0, 0, 32, 64]).convertToBlob() })`,
      (pipe) =>
        AutoPipelineForInpainting.fromPipe(pipe).generate('a fox', {
          ...settings,
          image: square([255, 0, 0], whole),
          maskImage: square([255, 255, 255], [0, 0, 32, 64]),
        } as never),
    );
  });

  test('files tell how they were drawn, in the format that was asked for', async () => {
    const bytes = await run<number[]>(`
      const { images: [{ file, parameters }], seeds, seconds, device } = await client.generate('a fox', { ${posted}, numImagesPerPrompt: 1 });
      globalThis.told = [file.type, parameters.prompt, seeds, seconds > 0, device.name];
      return [...new Uint8Array(await file.arrayBuffer())]`);
    expect(await run('return told')).toEqual(['image/png', 'a fox', [3], true, 'cpu']);
    expect(Image.fromPng(Uint8Array.from(bytes)).parameters).toMatchObject({
      prompt: 'a fox',
      seed: 3,
      scheduler: 'euler',
    });
  });

  test('errors keep their class and message, and the worker goes on', async () => {
    expect(await run("return failure(client.generate('a fox', { numInferenceSteps: 0 }))")).toEqual([
      'ArgumentError',
      'numInferenceSteps: must be an integer >= 1, got 0',
    ]);
    expect(await run("return failure(client.generate('a fox', { image: new Blob(['x']) }))")).toEqual([
      'FormatError',
      expect.stringContaining('image: '),
    ]);
    expect(await run("return failure(client.generate('a fox', { image: 5 }))")).toEqual([
      'ArgumentError',
      'image: must be a Blob, ImageData or ImageBitmap, got 5',
    ]);
    expect(await run("return failure(open({ device: 'abacus' }))")).toEqual([
      'ArgumentError',
      "device: must be one of webgpu, cpu, got 'abacus'",
    ]);
    expect(await run("return failure(open({ device: 'webgpu' }))")).toEqual([
      'DeviceError',
      expect.stringContaining('webgpu: no adapter found; '),
    ]);
    expect(await run("return failure(open({ model: './nothing/' }))")).toEqual([
      'ArgumentError',
      expect.stringContaining('/nothing/model_index.json: no such file (HTTP 404 Not Found)'),
    ]);
    expect(
      await run("return failure(open({ worker: () => new Worker('/none.js', { type: 'module' }) }))"),
    ).toEqual(['DeviceError', 'client: the worker failed: its script could not be loaded']);
  });

  test('an aborted call gives the reason of its signal; the next one draws', async () => {
    const stopped = await run(`
      const stop = new AbortController();
      const onProgress = ({ stage, step }) => { if (stage === 'draw' && step === 1) stop.abort(new RangeError('enough')); };
      return failure(client.generate('a fox', { ${posted}, numInferenceSteps: 500, onProgress, signal: stop.signal }));`);
    expect(stopped).toEqual(['RangeError', 'enough']);
    // One that waits for its turn is given up at once.
    const waiting = await run(`
      const [first, second] = [new AbortController(), new AbortController()];
      const ended = [];
      const begin = ({ signal }) => failure(client.generate('a fox', { ${posted}, numInferenceSteps: 500, signal }));
      const calls = [begin(first).then(() => ended.push(1)), begin(second).then(() => ended.push(2))];
      second.abort();
      await calls[1];
      first.abort();
      await calls[0];
      return ended;`);
    expect(waiting).toEqual([2, 1]);
    const both = await run(`
      const calls = [client.generate('a fox', { ${posted} }), client.generate('a fox', { ${posted} })];
      const [one, two] = await Promise.all(calls);
      return one.images[0].pixels.data.join() === two.images[0].pixels.data.join();`);
    expect(both).toBe(true);
  });

  test('an isolated page with the policy of the documentation draws, on threads where there are cores', async () => {
    const documented = readFileSync(new URL('../../site/pages/browser.md', import.meta.url), 'utf8');
    const lines = /```http\n([^]*?)```/.exec(documented)![1]!.trim().split('\n');
    server.headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/).slice(0, 2)));
    const isolated = await browser.newPage();
    try {
      const complaints: string[] = [];
      isolated.on('console', (message) => complaints.push(message.text()));
      await isolated.goto(tab.url());
      await isolated.waitForFunction('globalThis.open');
      const [device, shades, cores] = await isolated.evaluate<[{ description: string }, number, number]>(
        `(async () => {
          const client = await open();
          const { images: [{ pixels }], device } = await client.generate('a fox', { ${posted} });
          return [device, new Set(pixels.data).size, navigator.hardwareConcurrency];
        })()`,
      );
      expect(device.description).toContain(`${cores} thread${cores === 1 ? '' : 's'}`);
      expect(device).not.toHaveProperty('note');
      expect([shades > 20, complaints]).toEqual([true, []]);
      expect(Object.keys(server.headers)).toContain('Content-Security-Policy');
    } finally {
      server.headers = {};
      await isolated.close();
    }
  });

  test('a disposed client rejects what runs and what comes', async () => {
    const results = await run(`
      const running = failure(client.generate('a fox', { numInferenceSteps: 500 }));
      client.dispose();
      return [await running, await failure(client.generate('a fox'))];`);
    expect(results).toEqual([
      ['DarkroomError', 'client: was disposed'],
      ['DarkroomError', 'client: was disposed'],
    ]);
  });
});
