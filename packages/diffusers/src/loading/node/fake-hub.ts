// A hub on this machine for tests, with a store of another origin to which it redirects downloads of large files, as
// the real one does. Each answer is data that a test may change before it is sent.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What is asked for: the model's description, a file's headers, a file, or a large file of the store. */
export type Kind = 'info' | 'head' | 'get' | 'store';

/** What the hub is about to send. */
export interface FakeAnswer {
  status: number;
  headers: Record<string, string | number>;
  body: Uint8Array;
  /** The connection breaks after so many bytes of the body; or, with `stall`, stays silent. */
  cutAt?: number;
  stall?: boolean;
  /** Waits before the first byte: never, while it does not resolve. */
  hold?: Promise<unknown>;
  /** The body comes in pieces of so many bytes, ten a second, until `ends` says that the rest comes at once. */
  drip?: { readonly bytes: number; readonly ends: () => boolean };
}

/** A request that the hub got. */
export interface Asked {
  readonly kind: Kind;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** The hub and its store, listening. */
export interface FakeHub {
  readonly endpoint: string;
  readonly store: string;
  readonly asked: Asked[];
  /** Changes an answer; the default leaves it. */
  change: (answer: FakeAnswer, asked: Asked) => void;
  close(): Promise<void>;
}

export const commit: string = 'c'.repeat(40);
export const gitHash = (data: Uint8Array): string =>
  createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');
export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Serves `files` as the model org/tiny; those that end in .safetensors are large. */
export async function fakeHub(files: Readonly<Record<string, Uint8Array>>): Promise<FakeHub> {
  const asked: Asked[] = [];
  const respond =
    (answerOf: (asked: Asked) => FakeAnswer, kindOf: (request: IncomingMessage) => Kind) =>
    (request: IncomingMessage, response: ServerResponse): void => {
      const { range, authorization } = request.headers;
      const one = {
        kind: kindOf(request),
        path: decodeURI(request.url!.split('?')[0]!),
        range,
        authorization,
      };
      asked.push(one);
      const answer = answerOf(one);
      hub.change(answer, one);
      void send(request, response, answer);
    };
  const store = createServer(
    respond(
      ({ path, range }) => ranged(files[path.slice(1)], range, {}),
      () => 'store',
    ),
  );
  const server = createServer(
    respond(
      (one) => hubAnswer(files, hub.store, one),
      ({ method, url }) => (url!.startsWith('/api/') ? 'info' : method === 'HEAD' ? 'head' : 'get'),
    ),
  );
  const addresses = await Promise.all([server, store].map(listen));
  const hub: FakeHub = {
    endpoint: addresses[0]!,
    store: addresses[1]!,
    asked,
    change: () => {},
    close: async () => {
      for (const s of [server, store]) {
        s.closeAllConnections();
        await new Promise((done) => s.close(done));
      }
    },
  };
  return hub;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function hubAnswer(
  files: Readonly<Record<string, Uint8Array>>,
  store: string,
  { kind, path, range }: Asked,
): FakeAnswer {
  if (kind === 'info') {
    const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
    const body = Buffer.from(JSON.stringify({ id: 'org/tiny', sha: commit, siblings }));
    return { status: 200, headers: { 'content-type': 'application/json' }, body };
  }
  const name = path.replace(`/org/tiny/resolve/${commit}/`, '');
  const data = files[name];
  if (!data) return { status: 404, headers: {}, body: Buffer.alloc(0) };
  if (!name.endsWith('.safetensors'))
    return ranged(kind === 'head' ? undefined : data, range, {
      etag: `W/"${gitHash(data)}"`,
      ...(kind === 'head' && { 'content-length': data.length }),
    });
  const linked = { 'x-linked-etag': `"${sha256(data)}"`, 'x-linked-size': data.length };
  return { status: 302, headers: { ...linked, location: `${store}/${name}` }, body: Buffer.alloc(0) };
}

/** A file from where the request asks for it. */
function ranged(
  data: Uint8Array = new Uint8Array(),
  range: string | undefined,
  headers: FakeAnswer['headers'],
): FakeAnswer {
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  if (from === 0) return { status: 200, headers: { 'content-length': data.length, ...headers }, body: data };
  const body = data.subarray(from);
  const at = {
    'content-range': `bytes ${from}-${data.length - 1}/${data.length}`,
    'content-length': body.length,
  };
  return { status: 206, headers: { ...headers, ...at }, body };
}

async function send(request: IncomingMessage, response: ServerResponse, answer: FakeAnswer): Promise<void> {
  const { status, headers, body, cutAt, stall, hold, drip } = answer;
  await hold;
  response.on('error', () => {});
  try {
    response.writeHead(status, headers);
  } catch {
    return void response.destroy(); // a header that cannot be sent
  }
  if (request.method === 'HEAD') return void response.end();
  if (drip) return sendSlowly(response, body, drip);
  if (cutAt === undefined && !stall) return void response.end(body);
  response.flushHeaders();
  response.write(body.subarray(0, cutAt ?? 0), () => void (stall || response.destroy()));
}

async function sendSlowly(
  response: ServerResponse,
  body: Uint8Array,
  { bytes, ends }: NonNullable<FakeAnswer['drip']>,
): Promise<void> {
  let at = 0;
  for (; !ends() && at + bytes < body.length && !response.destroyed; at += bytes) {
    response.write(body.subarray(at, at + bytes));
    await new Promise((done) => setTimeout(done, 100));
  }
  response.end(body.subarray(at));
}
