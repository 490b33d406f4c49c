// Requests that are repeated when their failure is a passing one, and the errors of a hub's refusals.

import { ArgumentError, DarkroomError } from '@darkroom/core';
import type { Answer } from './ask.ts';

/** The hub did not answer, or refused temporarily. */
export class UnreachableError extends DarkroomError {
  /** True if a retry may succeed. */
  readonly passing: boolean;
  readonly afterMs: number | undefined;
  constructor(message: string, passing: boolean, afterMs?: number) {
    super(message);
    this.passing = passing;
    this.afterMs = afterMs;
  }
}

const mostTries = 5;
/** Milliseconds of all waits between retries at most, for any Retry-After. */
const mostWaitMs = 30_000;

/** Retries `task` after temporary failures. Tries that made progress do not count. */
export async function persist<T>(
  task: () => Promise<T>,
  cameFurther = async (): Promise<boolean> => false,
): Promise<T> {
  let tries = 0;
  let waited = 0;
  for (;;) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof UnreachableError) || !error.passing) throw error;
      if (await cameFurther()) tries = waited = 0;
      tries++;
      if (tries >= mostTries || waited >= mostWaitMs) throw error;
      const pause = Math.min(error.afterMs ?? 100 * 2 ** tries, mostWaitMs - waited);
      waited += pause;
      await new Promise((done) => setTimeout(done, pause));
    }
  }
}

/** The error of an answer with a status of 400 or more. */
export function refusal(name: string, { status, headers }: Answer): Error {
  if (status === 401 || status === 403) {
    return new ArgumentError(
      `${name}: the hub refuses access (status ${status}); it does not exist, or needs a token (HF_TOKEN) that may read it`,
    );
  }
  if (status === 404 || status === 410)
    return new ArgumentError(`${name}: is not on the hub (status ${status})`);
  const message = `${name}: the hub answered with status ${status}`;
  if (!(status >= 500 || status === 429 || status === 408)) return new DarkroomError(message);
  return new UnreachableError(message, true, waitOf(headers.get('retry-after')));
}

/** Retry-After in milliseconds: seconds, or the time of day when to come again. */
export function waitOf(header: string | null, now: number = Date.now()): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
