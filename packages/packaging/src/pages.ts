// Pages that draw with the installed packages: bundled as a user does it, opened in Chromium.

import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build as bundle } from 'esbuild';
import { build } from 'vite';
import { openChromium, serve } from '../../../docs/demo/src/testing.ts';
import { root } from './pack.ts';

/** A picture as a page gives it: red, green, blue of each pixel. */
export interface Drawn {
  readonly width: number;
  readonly height: number;
  readonly data: readonly number[];
  /** The first bytes of the picture in each format that the page was asked for. */
  readonly starts: Readonly<Record<string, string>>;
}

/** The README's program as it stands there. */
export const program: string = /```ts\n(import [^`]*save\('fox\.png'\);\n)```/.exec(
  readFileSync(join(root, 'README.md'), 'utf8'),
)![1]!;

/** The README's program as a page's: the picture is handed over where a program in Node saves a file. */
export function pageProgram(formats: readonly string[]): string {
  const hand = `
const image = images[0]!;
const starts: Record<string, string> = {};
for (const format of ${JSON.stringify(formats)} as const)
  starts[format] = String.fromCharCode(...(await image.encode(format)).subarray(0, 12));
Object.assign(globalThis, { drawn: { width: image.width, height: image.height, data: [...image.data], starts } });
`;
  const page = program.replace(/await images\[0\]!\.save\(.*\);\n/, hand);
  if (!page.includes('drawn'))
    throw new Error("README.md: its program does not end with `await images[0]!.save('fox.png');`");
  return page;
}

/** Writes a page and its program into a folder. */
function writePage(folder: string, name: string, text: string, script: string): string {
  const page = join(folder, name);
  mkdirSync(page, { recursive: true });
  writeFileSync(
    join(page, 'index.html'),
    `<!doctype html>\n<script type="module" src="${script}"></script>\n`,
  );
  writeFileSync(join(page, 'page.ts'), text);
  return page;
}

/** Builds a page by Vite without settings; the built folder. */
export async function buildWithVite(folder: string, text: string): Promise<string> {
  const page = writePage(folder, 'vite-page', text, 'page.ts');
  await build({ root: page, configFile: false, logLevel: 'warn' });
  return join(page, 'dist');
}

/** Builds a page by esbuild, and lays the model's files beside it, as its README says; the built folder. */
export async function buildWithEsbuild(folder: string, text: string): Promise<string> {
  const page = writePage(folder, 'esbuild-page', text, 'page.js');
  const outfile = join(page, 'page.js');
  await bundle({
    entryPoints: [join(page, 'page.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    logLevel: 'warning',
  });
  cpSync(join(folder, 'node_modules/@darkroom/emoji-64'), page, { recursive: true });
  return page;
}

/** Opens a built page and waits for its picture. @throws Error with what the page complains of */
export async function drawnBy(folder: string, webgpu = false): Promise<Drawn> {
  const server = await serve(folder);
  const browser = await openChromium({ webgpu });
  try {
    const page = await browser.newPage();
    const failed = new Promise<never>((_, reject) => page.on('pageerror', reject));
    failed.catch(() => {});
    await page.goto(`http://127.0.0.1:${server.port}/`);
    const found = page.waitForFunction(() => 'drawn' in globalThis, undefined, { timeout: 1_500_000 });
    await Promise.race([found, failed]);
    return await page.evaluate(() => (globalThis as unknown as { drawn: Drawn }).drawn);
  } finally {
    await browser.close();
    await server.stop();
  }
}
