// HTTP requests with limits: on the time to the answer, on pauses within it, and on its size.

import { FormatError } from '@darkroom/core';

/** Options of a request. */
export interface AskOptions {
  /** Seconds to wait for the answer, and then for each further KiB of it. */
  readonly seconds: number;
  readonly fetch?: typeof fetch;
}

/** The answer to a request, whose body is read with a time limit. */
export interface Answer {
  readonly status: number;
  /** 'OK', 'Not Found'. */
  readonly statusText: string;
  readonly ok: boolean;
  readonly headers: Headers;
  /** The body in pieces as they arrive; rejects if the body breaks off or stalls. */
  pieces(): AsyncGenerator<Uint8Array, void>;
  /** The whole body. @throws FormatError that begins with `name` if the body is longer than `most` bytes. */
  bytes(most: number, name: string): Promise<Uint8Array>;
  /** Closes the connection without reading the body. */
  cancel(): Promise<void>;
}

/** Bytes that must arrive within each time limit; a slower answer counts as stalled. */
const leastBytes = 1024;
/** Parts of a time limit: the timer counts ticks, so that time in which this process was blocked does not count. */
const ticks = 10;

/** The server did not answer or send within the time limit. */
export class TimeLimitError extends Error {
  override name = 'TimeLimitError';
}

/** Sends a request. @throws TimeLimitError, here and while the body is read */
export async function ask(url: string, init: RequestInit, options: AskOptions): Promise<Answer> {
  const { seconds, fetch: send = fetch } = options;
  const stop = new AbortController();
  const patience = new Patience(seconds, () => stop.abort());
  const response = await patience
    .waitFor(send(url, { ...init, signal: stop.signal }), 'no answer came')
    .finally(() => patience.end());
  const { status, statusText, ok, headers } = response;
  const pieces = async function* (): AsyncGenerator<Uint8Array, void> {
    if (!response.body) return;
    const reader = response.body.getReader();
    let bytes = 0;
    try {
      patience.restart();
      for (;;) {
        const { done, value } = await patience.waitFor(
          reader.read(),
          `fewer than ${leastBytes} more bytes came`,
        );
        if (done) return;
        bytes += value.length;
        if (bytes >= leastBytes) {
          patience.restart();
          bytes = 0;
        }
        yield value;
      }
    } finally {
      patience.end();
      stop.abort();
    }
  };
  return {
    status,
    statusText,
    ok,
    headers,
    pieces,
    bytes: (most, name) => collect(pieces(), most, name),
    cancel: async () => stop.abort(),
  };
}

async function collect(pieces: AsyncIterable<Uint8Array>, most: number, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > most) throw new FormatError(`${name}: the answer is longer than ${most} bytes`);
    parts.push(piece);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A time limit for consecutive waits together. */
class Patience {
  readonly #seconds: number;
  readonly #expired: () => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ticks = 0;
  /** Rejects the current wait. */
  #fail: (() => void) | undefined;

  constructor(seconds: number, expired: () => void) {
    this.#seconds = seconds;
    this.#expired = expired;
  }

  restart(): void {
    this.#ticks = 0;
  }

  waitFor<T>(work: Promise<T>, complaint: string): Promise<T> {
    this.#timer ??= setInterval(() => this.#tick(), (this.#seconds * 1000) / ticks);
    return new Promise<T>((done, fail) => {
      this.#fail = () => fail(new TimeLimitError(`${complaint} within ${this.#seconds} s`));
      work.then(done, fail);
    }).finally(() => (this.#fail = undefined));
  }

  #tick(): void {
    if (!this.#fail || ++this.#ticks < ticks) return;
    this.#fail();
    this.end();
    this.#expired();
  }

  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** An error's message with its cause ('ECONNREFUSED …'), which Node hides behind 'fetch failed'; without passwords. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const deeper = cause instanceof Error ? cause.message || (cause as { code?: string }).code : undefined;
  return withoutPassword(deeper ? `${message} (${deeper})` : message);
}

/** `text` without user names and passwords in its addresses. */
export function withoutPassword(text: string): string {
  return text.replace(/\/\/[^\s/]*@/g, '//');
}
