// Requests to the hub: address, credentials, time limits and retries.

import { ArgumentError, DarkroomError, FormatError } from '@darkroom/core';
import { ask, reasonOf } from '../ask.ts';
import type { Answer } from '../ask.ts';
import type { HubOptions } from '../hub-options.ts';
import { persist, refusal, UnreachableError } from '../persist.ts';
import { findToken } from './hub-cache.ts';

export interface Remote {
  /** Without a password; the start of every address, and the name of the hub in messages. */
  readonly endpoint: string;
  /** The answer's headers. Redirects are not followed: the headers of the store behind one do not describe the file. */
  head(url: string, name: string): Promise<Answer>;
  json(url: string, name: string): Promise<unknown>;
  /** Requests a file, or its missing rest, once. */
  get(url: string, name: string, headers: Readonly<Record<string, string>>): Promise<Answer>;
}

/** Bytes of the description of a repository at most; real ones are far smaller. */
const mostJsonBytes = 32 * 2 ** 20;

export async function connect(options: HubOptions): Promise<Remote> {
  const { endpoint, origin, basic } = address(options.endpoint ?? process.env['HF_ENDPOINT']);
  const token = await findToken(options.token);
  const authorization = token === undefined ? basic : `Bearer ${token}`;
  const etagSeconds = seconds(options.etagTimeout, 'etagTimeout', 'HF_HUB_ETAG_TIMEOUT');
  const downloadSeconds = seconds(options.downloadTimeout, 'downloadTimeout', 'HF_HUB_DOWNLOAD_TIMEOUT');
  const send = async (
    url: string,
    name: string,
    init: RequestInit & { headers: Record<string, string> },
    limit: number,
    stubborn = false,
  ): Promise<Answer> => {
    const headers = new Headers(init.headers);
    // Only ever to the hub itself: fetch drops it on the way to the store that a download is redirected to.
    if (authorization !== undefined && new URL(url).origin === origin)
      headers.set('Authorization', authorization);
    let answer: Answer;
    try {
      answer = await ask(url, { ...init, headers }, { seconds: limit });
    } catch (error) {
      throw unreachable(name, endpoint, error, stubborn);
    }
    if (answer.status >= 400) {
      await answer.cancel();
      throw refusal(name, answer);
    }
    return answer;
  };
  return {
    endpoint,
    head: (url, name) =>
      persist(() =>
        send(
          url,
          name,
          { method: 'HEAD', redirect: 'manual', headers: { 'Accept-Encoding': 'identity' } },
          etagSeconds,
        ),
      ),
    json: (url, name) =>
      persist(async () => {
        const answer = await send(url, name, { headers: {} }, etagSeconds);
        let text: string;
        try {
          text = new TextDecoder().decode(await answer.bytes(mostJsonBytes, name));
        } catch (error) {
          throw error instanceof DarkroomError ? error : unreachable(name, endpoint, error);
        }
        try {
          return JSON.parse(text) as unknown;
        } catch {
          throw new FormatError(`${name}: the hub at ${endpoint} answered with what is no JSON`);
        }
      }),
    get: (url, name, given) =>
      send(url, name, { headers: { ...given, 'Accept-Encoding': 'identity' } }, downloadSeconds, true),
  };
}

/** The error of a failed request. A reset connection is retried; a timeout is not, unless `stubborn`. */
export function unreachable(
  name: string,
  endpoint: string,
  error: unknown,
  stubborn = false,
): UnreachableError {
  const code = ((error as Error).cause as { code?: string } | undefined)?.code;
  const broken = /^(ECONNRESET|ECONNABORTED|EPIPE|UND_ERR_SOCKET)$/.test(code ?? '');
  const passing = stubborn || broken;
  return new UnreachableError(
    `${name}: the hub at ${endpoint} cannot be reached (${reasonOf(error)})`,
    passing,
  );
}

/** The parts of the hub's address. A password in it is sent as such, unless there is a token, and never shown. */
function address(given = 'https://huggingface.co'): { endpoint: string; origin: string; basic?: string } {
  const bad = (rule: string): ArgumentError =>
    new ArgumentError(`endpoint: ${rule}, got '${given.replace(/^.*@/s, '***@')}'`);
  if (!URL.canParse(given)) throw bad('must be an address like https://huggingface.co');
  const url = new URL(given);
  if (!/^https?:$/.test(url.protocol)) throw bad('must be an address like https://huggingface.co');
  if (url.search || url.hash) throw bad('must hold neither ? nor #');
  const endpoint = `${url.origin}${url.pathname}`.replace(/\/+$/, '');
  if (!url.username && !url.password) return { endpoint, origin: url.origin };
  const plain = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  const basic = Buffer.from(`${plain(url.username)}:${plain(url.password)}`).toString('base64');
  return { endpoint, origin: url.origin, basic: `Basic ${basic}` };
}

/** A time limit: the option, else the variable, else ten seconds. */
function seconds(option: number | undefined, name: string, variable: string): number {
  const text = process.env[variable]?.trim() ?? '';
  const value = option ?? (Number(text) === 0 ? 10 : Number(text)); // '' and 0: the default, as in Python
  if (value > 0 && value <= 86_400) return value;
  throw new ArgumentError(
    option === undefined
      ? `${variable}: must be seconds from 0 to 86400, got '${text}'`
      : `${name}: must be seconds, more than 0 and at most 86400, got ${option}`,
  );
}
