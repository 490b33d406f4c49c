// State that hooks keep for one call: a picture's loop over its steps, or one forward where the caller opened no state.
// A forward is synchronous, so the state in use is the one whose run() is on the stack: two calls that await between
// their steps never see each other's.

import '../dispose-symbol.ts';

/** Values of one call, each under the hook or module that it belongs to. */
export class CallState {
  readonly #values = new Map<object, unknown>();

  /**
   * The value under `key`, made by `make` at the first request. A value with [Symbol.dispose] is disposed with the
   * state.
   */
  get<T extends object>(key: object, make: () => T): T {
    if (!this.#values.has(key)) this.#values.set(key, make());
    return this.#values.get(key) as T;
  }

  /** Runs `body`, in which hooks see this state; states nest. @throws TypeError when `body` returns a promise. */
  run<T>(body: () => T): T {
    const result = within(this, body);
    if (result instanceof Promise)
      throw new TypeError('CallState: body returned a promise; call run() for each synchronous part');
    return result;
  }

  /** Ends the call: disposes the values and forgets them. */
  dispose(): void {
    const values = [...this.#values.values()] as Partial<Disposable>[];
    this.#values.clear();
    for (const value of values) value[Symbol.dispose]?.();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

let current: CallState | undefined;

function within<T>(state: CallState, body: () => T): T {
  const outer = current;
  current = state;
  try {
    return body();
  } finally {
    current = outer;
  }
}

/** The state of the call that runs now; undefined outside of CallState.run(). */
export function currentCallState(): CallState | undefined {
  return current;
}

/** Runs `body` with the state of the call that runs now, or with one that ends with `body`. */
export function withCallState<T>(body: (state: CallState) => T): T {
  if (current) return body(current);
  using state = new CallState();
  return state.run(() => body(state));
}
