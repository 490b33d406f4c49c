// The page as people get it: built, on a plain static server without isolation headers, in a real browser. Its
// picture must be the one that the same call makes in Node.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Browser, Page, Route } from 'playwright-core';
import { cpu } from '@darkroom/backend-cpu';
import { pagePixelTolerance } from '@darkroom/core/testing';
import { Image, StableDiffusionPipeline } from '@darkroom/diffusers';
import { subjects } from '@darkroom/emoji-64';
import { buildPage, chromiumIsMissing, openChromium, serve } from './testing.ts';

const model = fileURLToPath(new URL('../../../models/emoji-64', import.meta.url));
interface Order {
  readonly prompt: string;
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
}
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

/** Presses the button and waits for what ends the call; what the page complains of fails the test. */
async function generate(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Generate' }).click();
  await settled(page);
}

async function settled(page: Page): Promise<void> {
  await page.locator('body[data-state=ready], body[data-state=broken]').waitFor({ timeout: slow });
  expect(await page.locator('#error:visible').allTextContents()).toEqual([]);
  expect(await page.locator('#save').isVisible()).toBe(true);
}

/** Compares the canvas with a picture. Devices and threads differ in last bits. */
async function expectPicture(page: Page, picture: Image): Promise<void> {
  const { width, height, data } = await readCanvas(page);
  expect([width, height]).toEqual([picture.width, picture.height]);
  let largest = 0;
  let sum = 0;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const difference = Math.abs(data[i * 4 + c]! - picture.data[i * 3 + c]!);
      largest = Math.max(largest, difference);
      sum += difference;
    }
  }
  expect(largest).toBeLessThanOrEqual(pagePixelTolerance.largest);
  expect(sum / (width * height * 3)).toBeLessThanOrEqual(pagePixelTolerance.mean);
}

const readCanvas = (page: Page): Promise<{ width: number; height: number; data: number[] }> =>
  page.evaluate(() => {
    const canvas = document.querySelector('canvas')!;
    const { width, height, data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return { width, height, data: [...data] };
  });

const focused = (page: Page): Promise<string> => page.evaluate(() => document.activeElement!.id);

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
    await generate(page);
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(false);
    expect(await page.locator('#device').textContent()).toContain(`${device}: `);
    await expectPicture(page, expected);
    const { data } = await readCanvas(page);

    // PNDM takes one step more than it is asked for; each is shown, the last as the final picture.
    expect(await page.locator('body').getAttribute('data-paints')).toBe(String(order.steps + 1));
    const png = await page.evaluate(async () => {
      const file = await fetch(document.querySelector<HTMLAnchorElement>('#save')!.href);
      return [...new Uint8Array(await file.arrayBuffer())];
    });
    const saved = Image.fromPng(Uint8Array.from(png));
    expect(saved.parameters).toMatchObject({ prompt: order.prompt, seed: order.seed });
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
    // The button that is gone gives the focus to its neighbour.
    expect(await focused(page)).toBe('go');

    await fill(page, { ...order, steps: 2 });
    const pictures = [];
    for (let turn = 0; turn < 2; turn++) {
      await generate(page);
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
    await page.locator('body[data-state=ready]').waitFor();
  });

  test('the first view shows an example, which the form draws again', async () => {
    const { page, bad } = await open('?device=cpu');
    const example = Image.fromPng(readFileSync(new URL('./example.png', import.meta.url)));
    await page.getByText('a fox on a blue background, seed 7').waitFor();
    await expectPicture(page, example);
    expect(await page.locator('#canvas').getAttribute('aria-label')).toBe(
      'Example: a fox on a blue background',
    );
    await generate(page);
    await expectPicture(page, example);
    expect(bad).toEqual([]);
  });

  test('a subject of the gallery is drawn; the focus stays where it was', async () => {
    const { page, bad } = await open('?device=cpu');
    await page.getByLabel('Steps').fill('2');
    await page.locator('body[data-state=ready]').waitFor();
    expect(await page.locator('#subjects button').count()).toBe(subjects.length);
    const pizza = page.getByRole('button', { name: 'pizza' });
    await pizza.click();
    await settled(page);
    expect(await page.getByLabel('Prompt').inputValue()).toBe('a pizza on a blue background');
    expect(await page.locator('#caption').textContent()).toBe('a pizza on a blue background, seed 7');
    expect(await page.evaluate(() => document.activeElement!.textContent)).toBe('pizza');
    await page.getByLabel('Prompt').press('Enter');
    await settled(page);
    expect(await focused(page)).toBe('prompt');
    // A second wish while the first is drawn takes its place.
    await page.getByLabel('Steps').fill('100');
    await page.getByLabel('Prompt').press('Enter');
    await page.getByText(/^Step \d/).waitFor();
    await page.getByLabel('Steps').fill('2');
    await page.getByRole('button', { name: 'robot' }).click();
    await settled(page);
    expect(await page.locator('#caption').textContent()).toBe('a robot on a blue background, seed 7');
    expect(bad).toEqual([]);
  });

  test('a missing model and an unknown device are told', async () => {
    const { page } = await open('?device=abacus');
    await page.getByText("device: must be one of webgpu, cpu, got 'abacus'").waitFor();
    await page.route('**/*.safetensors', (route) => route.fulfill({ status: 404 }));
    await page.goto(page.url().replace('abacus', 'cpu'));
    await page.getByText(/\.safetensors: no such file \(HTTP 404/).waitFor();
    await page.getByText('This page cannot draw here.').waitFor();
  });

  const host = '127.0.0.1';
  const without = [
    { what: 'no adapter', says: 'switch on hardware acceleration', host },
    { what: 'no navigator.gpu', says: 'this browser does not offer WebGPU', host, hide: true },
    { what: 'an insecure page', says: 'browsers offer WebGPU to secure pages only', host: 'plain.example' },
  ];
  test.each(without)('$what: the processor draws, and the page says why', async (given) => {
    const bare = await openChromium({
      webgpu: false,
      args: ['--host-resolver-rules=MAP plain.example 127.0.0.1'],
    });
    onTestFinished(() => bare.close());
    const { page, bad } = await open('', bare, given.host, given.hide);
    await page.getByLabel('Steps').fill('2');
    await page.locator('body[data-state=ready]').waitFor();
    await generate(page);
    expect(await page.locator('#device').textContent()).toMatch(/^cpu: .* 1 thread$/);
    const note = await page.locator('#note').textContent();
    expect(note).toContain(given.says);
    expect(note).toContain('one thread computes: more need cross-origin isolation');
    expect(bad).toEqual([]);
    // Asked for by name, WebGPU is not replaced.
    await page.goto(`${page.url()}?device=webgpu`);
    await page.getByRole('alert').filter({ hasText: given.says }).waitFor();
    expect(await page.locator('body').getAttribute('data-state')).toBe('broken');
  });
});
