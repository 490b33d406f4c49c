// Scopes: the daily tool for memory. `scope(() => f())` disposes every tensor made inside except those returned.
// Synchronous on purpose: enqueueing is synchronous, so forward passes never await. For async code hold a Scope
// object (`using s = new Scope()`), which is never ambient across an await.

import './dispose-symbol.ts';

/** An item that a scope can own: a tensor. */
export interface Owned {
  owner: Scope | undefined;
  dispose(): void;
}

let current: Scope | undefined;

/** The scope that new tensors join, if any. */
export function currentScope(): Scope | undefined {
  return current;
}

/** Owns tensors and disposes them together. */
export class Scope {
  /** Adopted items. An item is owned only while its `owner` is this scope; items that left stay in the list. */
  readonly #adopted: Owned[] = [];

  /** Runs `body` with this scope as the current one; tensors made there live until the scope is disposed. */
  run<T>(body: () => T): T {
    return within(this, body);
  }

  /** Takes an item over, from another scope or from nobody. */
  adopt(item: Owned): void {
    item.owner = this;
    this.#adopted.push(item);
  }

  forget(item: Owned): void {
    if (item.owner === this) item.owner = undefined;
  }

  /** Detaches everything found in `value` (tensors, arrays, maps, plain records) and returns it. */
  keep<T>(value: T): T {
    forEachOwned(value, (item) => {
      if (item.owner === this) this.forget(item);
    });
    return value;
  }

  /** Disposes all items that the scope still owns. */
  dispose(): void {
    for (const item of this.#adopted) {
      if (item.owner === this) item.dispose();
    }
    this.#adopted.length = 0;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function within<T>(inner: Scope, body: () => T): T {
  const outer = current;
  current = inner;
  try {
    return body();
  } finally {
    current = outer;
  }
}

/** Runs `body`; disposes the tensors it made except those in its result, which pass to the enclosing scope. */
export function scope<T>(body: () => T): T {
  const inner = new Scope();
  const outer = current;
  try {
    const result = inner.run(body);
    if (result instanceof Promise) {
      throw new TypeError(
        'scope: body returned a promise; scopes are synchronous (use `new Scope()` across await)',
      );
    }
    // Only tensors made inside change owner; a tensor of the caller that `body` returns stays the caller's.
    forEachOwned(result, (item) => {
      if (item.owner !== inner) return;
      if (outer) outer.adopt(item);
      else inner.forget(item);
    });
    return result;
  } finally {
    inner.dispose();
  }
}

/** Takes the tensors in `value` out of their scopes; the caller must dispose them. */
export function keep<T>(value: T): T {
  forEachOwned(value, (item) => item.owner?.forget(item));
  return value;
}

function isOwned(value: object): value is Owned {
  return 'owner' in value && 'dispose' in value;
}

function forEachOwned(value: unknown, visit: (item: Owned) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (isOwned(value)) visit(value);
  else if (Array.isArray(value)) for (const v of value) forEachOwned(v, visit);
  else if (value instanceof Map) for (const v of value.values()) forEachOwned(v, visit);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const v of Object.values(value)) forEachOwned(v, visit);
  }
}
