// A server of models for tests: files with ETags and ranges at /models/, the same as a hub at /hub/. Counts what it is
// asked, and misbehaves as a test wants.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A server of models. */
export interface ModelServer {
  readonly port: number;
  /** Contents by path, as 'tiny/model_index.json'; the hub has them as org/tiny. Changeable. */
  readonly files: Map<string, Buffer>;
  /** 'GET /models/tiny/unet.bin bytes=5-', in order. */
  readonly asked: string[];
  /** Answers break off at this byte of the file. */
  cutAt: number | undefined;
  /** False: neither ETag nor Last-Modified. */
  tells: boolean;
  /** Headers of the pages: isolation, a content security policy. */
  headers: Readonly<Record<string, string>>;
  /** The sha256 that the hub lists, in place of the right one. */
  lies: string | undefined;
  stop(): Promise<void>;
}

const commit = 'c'.repeat(40);
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const gitHash = (data: Buffer): string =>
  createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
const isLarge = (path: string): boolean => path.endsWith('.bin');

/** Serves `files`, and `pages` (contents of a built page by path, with their types). */
export async function serveModels(
  files: Map<string, Buffer>,
  pages: ReadonlyMap<string, { readonly type: string; readonly body: Buffer }>,
): Promise<ModelServer> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, 'http://models').pathname);
    const page = pages.get(path);
    if (page)
      return void response.writeHead(200, { 'content-type': page.type, ...self.headers }).end(page.body);
    const { range } = request.headers;
    self.asked.push([request.method, path, range].filter((part) => part !== undefined).join(' '));
    const model = /^\/hub\/api\/models\/org\/(\w+)\/revision\/main$/.exec(path)?.[1];
    if (model !== undefined) return void response.end(JSON.stringify(describe(self, model)));
    const name = path.replace('/models/', '').replace(/^\/hub\/org\/(\w+)\/resolve\/\w+\//, '$1/');
    const file = self.files.get(name);
    if (!file) return void response.writeHead(404).end();
    send(self, request, response, file);
  });
  const self: ModelServer = {
    port: 0,
    files,
    asked: [],
    cutAt: undefined,
    tells: true,
    headers: {},
    lies: undefined,
    stop: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(() => done()));
    },
  };
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  Object.assign(self, { port: (server.address() as AddressInfo).port });
  return self;
}

/** The hub's description of a model. */
function describe({ files, lies }: ModelServer, model: string): object {
  const siblings = [...files]
    .filter(([path]) => path.startsWith(`${model}/`))
    .map(([path, data]) => ({
      rfilename: path.slice(model.length + 1),
      size: data.length,
      blobId: gitHash(data),
      ...(isLarge(path) && { lfs: { sha256: lies ?? sha256(data), size: data.length } }),
    }));
  return { id: `org/${model}`, sha: commit, siblings };
}

function send(server: ModelServer, request: IncomingMessage, response: ServerResponse, file: Buffer): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const body = file.subarray(from);
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': body.length,
    ...(server.tells && { etag: `"${sha256(file).slice(0, 16)}"` }),
    ...(from > 0 && { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` }),
  });
  if (request.method === 'HEAD') return void response.end();
  if (server.cutAt === undefined || server.cutAt >= file.length) return void response.end(body);
  response.write(file.subarray(from, server.cutAt), () => response.destroy());
}
