// The page as people get it: built, on a plain static server without isolation headers, in a real browser. Its
// picture must be the one that the same call makes in Node.

import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Browser, Page, Route } from 'playwright-core';
import { cpu } from '@darkroom/backend-cpu';
import { pagePixelTolerance } from '@darkroom/core/testing';
import { Image, StableDiffusionPipeline } from '@darkroom/diffusers';
import type { Order } from './protocol.ts';
import { buildPage, chromiumIsMissing, openChromium, serve } from './testing.ts';

const model = fileURLToPath(new URL('../../../models/emoji-64', import.meta.url));
const order: Order = { prompt: 'a fox', seed: 7, steps: 6, guidance: 4 };
/** A watchdog against hangs, as the tests' own. */
const slow = 1_800_000;

/** The picture of `order`, made here. */
async function drawInNode(): Promise<Image> {
  const device = await cpu({ threads: 1 });
  try {
    const pipe = await StableDiffusionPipeline.fromPretrained(model, { device });
    pipe.setProgressBarConfig({ disable: true });
    const { images } = await pipe(order.prompt, {
      seed: order.seed,
      numInferenceSteps: order.steps,
      guidanceScale: order.guidance,
    });
    return images[0]!;
  } finally {
    device[Symbol.dispose]();
  }
}

async function fill(page: Page, { prompt, seed, steps, guidance }: Order): Promise<void> {
  await page.getByLabel('Prompt').fill(prompt);
  await page.getByLabel('Seed', { exact: true }).fill(String(seed));
  await page.getByLabel('Steps').fill(String(steps));
  await page.getByLabel('Guidance').fill(String(guidance));
}

/** Waits for what ends a call, whichever comes; what the page complains of fails the test. */
async function settled(page: Page): Promise<void> {
  const complaint = page.locator('#error:visible, #no-device:visible');
  await page.locator('#save').or(complaint).filter({ visible: true }).first().waitFor({ timeout: slow });
  expect(await complaint.allTextContents()).toEqual([]);
}

const readCanvas = (page: Page): Promise<{ width: number; height: number; data: number[] }> =>
  page.evaluate(() => {
    const canvas = document.querySelector('canvas')!;
    const { width, height, data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return { width, height, data: [...data] };
  });

/** Chromium keeps navigator.gpu whatever its flags; scripts put in by a test do not run in workers. */
async function hideGpuFromWorker(route: Route): Promise<void> {
  const response = await route.fetch();
  await route.fulfill({ response, body: `delete WorkerNavigator.prototype.gpu;\n${await response.text()}` });
}

describe.skipIf(chromiumIsMissing())('page', () => {
  let built: Awaited<ReturnType<typeof buildPage>>;
  let server: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  let expected: Image;
  beforeAll(async () => {
    built = await buildPage();
    server = await serve(built.folder);
    browser = await openChromium({ webgpu: true });
    expected = await drawInNode();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    built?.remove();
  });

  /** A fresh page that notes what must not happen: requests to others, errors on the console. */
  async function open(query: string, from = browser, host = '127.0.0.1', hideGpu = false): Promise<Opened> {
    const context = await from.newContext();
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(slow);
    const bad: string[] = [];
    const own = `http://${host}:${server.port}/`;
    page.on('request', (r) => {
      if (!r.url().startsWith(own) && !/^(blob|data):/.test(r.url())) bad.push(`request to ${r.url()}`);
    });
    page.on('console', (m) => {
      if (m.type() === 'error') bad.push(m.text());
    });
    page.on('pageerror', (e) => bad.push(e.message));
    await page.addInitScript(() => {
      const context2d = CanvasRenderingContext2D.prototype;
      const paint = context2d.putImageData as (image: ImageData, x: number, y: number) => void;
      context2d.putImageData = function (
        this: CanvasRenderingContext2D,
        image: ImageData,
        x: number,
        y: number,
      ) {
        document.body.dataset['paints'] = String(Number(document.body.dataset['paints'] ?? 0) + 1);
        paint.call(this, image, x, y);
      };
    });
    if (hideGpu) await page.route('**/assets/worker-*.js', hideGpuFromWorker);
    await page.goto(`${own}${query}`);
    return { page, bad };
  }
  interface Opened {
    readonly page: Page;
    readonly bad: string[];
  }

  test.each(['cpu', 'webgpu'])('draws the picture of Node on %s', async (device) => {
    const { page, bad } = await open(`?device=${device}`);
    await fill(page, order);
    await page.getByRole('button', { name: 'Generate' }).click();
    await settled(page);
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(false);
    expect(await page.locator('#device').textContent()).toContain(`${device}: `);

    const { width, height, data } = await readCanvas(page);
    expect([width, height]).toEqual([expected.width, expected.height]);
    let largest = 0;
    let sum = 0;
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        const difference = Math.abs(data[i * 4 + c]! - expected.data[i * 3 + c]!);
        largest = Math.max(largest, difference);
        sum += difference;
      }
    }
    expect(largest).toBeLessThanOrEqual(pagePixelTolerance.largest);
    expect(sum / (width * height * 3)).toBeLessThanOrEqual(pagePixelTolerance.mean);

    // PNDM takes one step more than it is asked for; each is shown, the last as the final picture.
    expect(await page.locator('body').getAttribute('data-paints')).toBe(String(order.steps + 1));
    const png = await page.evaluate(async () => {
      const file = await fetch(document.querySelector<HTMLAnchorElement>('#save')!.href);
      return [...new Uint8Array(await file.arrayBuffer())];
    });
    const saved = Image.fromPng(Uint8Array.from(png));
    expect([...saved.data]).toEqual(data.filter((_, i) => i % 4 !== 3));
    expect(await page.locator('#save').getAttribute('download')).toBe('a-fox-7.png');
    const shot = process.env['DARKROOM_SCREENSHOT'];
    if (shot) await page.screenshot({ path: shot.replace('%', device), fullPage: true });
    expect(bad).toEqual([]);
  });

  test('stops between steps, then draws again; one seed gives one picture', async () => {
    const { page, bad } = await open('?device=cpu');
    await fill(page, { ...order, steps: 100 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByText(/^Step \d/).waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('Stopped.').waitFor();
    expect(await page.locator('#save').isVisible()).toBe(false);

    await fill(page, { ...order, steps: 2 });
    const pictures = [];
    for (let turn = 0; turn < 2; turn++) {
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.locator('#save').waitFor();
      pictures.push((await readCanvas(page)).data);
    }
    expect(pictures[1]).toEqual(pictures[0]);
    expect(bad).toEqual([]);
  });

  test('an error of the pipeline is shown, and the form stays of use', async () => {
    const { page } = await open('?device=cpu');
    // Past the form's own check, as a newer browser or another caller might be.
    await page.evaluate(() => document.querySelector('form')!.setAttribute('novalidate', ''));
    await fill(page, { ...order, steps: 0 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByText('ArgumentError: numInferenceSteps: must be an integer >= 1, got 0').waitFor();
    await page.getByRole('button', { name: 'Generate', disabled: false }).waitFor();
  });

  test('a missing model and an unknown device are told', async () => {
    const { page } = await open('?device=abacus');
    await page.getByText("device 'abacus'; known are webgpu and cpu").waitFor();
    await page.route('**/model_index.json', (route) => route.fulfill({ status: 404 }));
    await page.goto(page.url().replace('abacus', 'cpu'));
    await page.getByText(/model_index\.json: no such file \(HTTP 404/).waitFor();
    await page.getByText('The model could not be opened.').waitFor();
  });

  const host = '127.0.0.1';
  const without = [
    { what: 'no adapter', says: 'the browser found no graphics adapter', host },
    { what: 'no navigator.gpu', says: 'this browser does not offer it', host, hide: true },
    { what: 'an insecure page', says: 'offer it to secure pages only', host: 'plain.example' },
  ];
  test.each(without)('$what: the page says so and what to do', async (given) => {
    const bare = await openChromium({
      webgpu: false,
      args: ['--host-resolver-rules=MAP plain.example 127.0.0.1'],
    });
    onTestFinished(() => bare.close());
    const { page, bad } = await open('', bare, given.host, given.hide);
    const message = page.getByRole('alert').filter({ hasText: 'WebGPU is missing' });
    await message.waitFor();
    expect(await message.textContent()).toContain(given.says);
    expect(await message.textContent()).toContain('What you can do:');
    expect(await page.getByRole('button', { name: 'Generate' }).isDisabled()).toBe(true);
    expect(await message.getByRole('link').getAttribute('href')).toBe('?device=cpu');
    expect(bad).toEqual([]);
  });
});
