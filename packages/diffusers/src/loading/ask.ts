// Requests that end: a server has to answer in time, to keep sending, and to stop at a stated size.

import { FormatError } from '@darkroom/core';

export interface AskOptions {
  /** How long an answer may be waited for, and then each further KiB of it. */
  readonly seconds: number;
  readonly fetch?: typeof fetch;
}

export interface Answer {
  readonly status: number;
  /** 'OK', 'Not Found'. */
  readonly statusText: string;
  readonly ok: boolean;
  readonly headers: Headers;
  /** The body as it comes; rejects when it breaks off or stalls. */
  pieces(): AsyncGenerator<Uint8Array, void>;
  /** The whole body. @throws FormatError that begins with `name` when it is longer than `most` bytes. */
  bytes(most: number, name: string): Promise<Uint8Array>;
  /** Gives up the body, if nobody reads it. */
  cancel(): Promise<void>;
}

/** An answer that drips slower than this counts as silent. */
const leastBytes = 1024;
/** Waiting is counted in ticks: those that a busy process misses are not held against the server. */
const ticks = 10;

/** The server took too long. */
export class TimeLimitError extends Error {
  override name = 'TimeLimitError';
}

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

/** Time that may be spent waiting, over several waits that follow each other. */
class Patience {
  readonly #seconds: number;
  readonly #expired: () => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ticks = 0;
  /** Ends the wait that is under way. */
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

/** Node hides the cause ('ECONNREFUSED …') behind 'fetch failed'. Passwords in addresses are left out. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const deeper = cause instanceof Error ? cause.message || (cause as { code?: string }).code : undefined;
  return withoutPassword(deeper ? `${message} (${deeper})` : message);
}

/** A text without what stands before an @ in its addresses. */
export function withoutPassword(text: string): string {
  return text.replace(/\/\/[^\s/]*@/g, '//');
}
