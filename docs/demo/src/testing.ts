// What the page's test stands on: the built page, a static server as plain as they come, a headless Chromium.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { skip } from '@darkroom/core/testing';
import { build } from 'vite';
import config from '../vite.config.ts';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';

/**
 * True where there is no Chromium: the tests are skipped with the reason printed, unless DARKROOM_REQUIRE names
 * chromium (as CI does): then this throws.
 */
export function chromiumIsMissing(): boolean {
  if (existsSync(executablePath)) return false;
  return skip(
    'chromium',
    `no Chromium at ${executablePath}; install one, or say where it is with CHROMIUM_PATH`,
  );
}

/** Headless, talking to nobody; `webgpu` on runs it in software (SwiftShader), off leaves no adapter. */
export function openChromium(options: { webgpu: boolean; args?: readonly string[] }): Promise<Browser> {
  const quiet = ['--disable-background-networking', '--disable-quic', '--no-first-run'];
  const args = ['--no-sandbox', ...quiet, '--disable-component-update', '--disable-sync'];
  const gpu = options.webgpu ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'] : [];
  return chromium.launch({
    executablePath,
    headless: true,
    args: [...args, ...gpu, ...(options.args ?? [])],
  });
}

/** The page, built as `vite build` does it, in a folder that the returned function removes. */
export async function buildPage(): Promise<{ folder: string; remove: () => void }> {
  const folder = mkdtempSync(join(tmpdir(), 'darkroom-demo-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    await build({
      ...config,
      configFile: false,
      mode: 'production',
      logLevel: 'warn',
      build: { outDir: folder, emptyOutDir: true },
    });
  } catch (error) {
    remove();
    throw error;
  }
  return { folder, remove };
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
};

/** Serves a folder on this machine: no ranges, no isolation headers, nothing that some static server lacks. */
export async function serve(folder: string): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, 'http://page').pathname));
    const file = join(folder, path.endsWith('/') ? `${path}index.html` : path);
    if (!existsSync(file) || !statSync(file).isFile()) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream' });
    response.end(request.method === 'HEAD' ? undefined : readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
