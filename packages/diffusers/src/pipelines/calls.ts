// The calls under way on one pipeline, and what each of them was told: nothing of a call lives on the pipeline.

import { ArgumentError } from '@darkroom/core';
import type { Interruptible } from './options.ts';

export class Calls {
  readonly #running = new Set<Interruptible>();
  /** The call whose callback runs now; not while a callback waits for something. */
  #inCallback: Interruptible | undefined;

  start<C extends Interruptible>(call: C): C {
    this.#running.add(call);
    return call;
  }
  end(call: Interruptible): void {
    this.#running.delete(call);
  }

  get #meant(): Iterable<Interruptible> {
    return this.#inCallback ? [this.#inCallback] : this.#running;
  }
  /** Of the call whose callback runs now, else of all calls under way (true if any was told to end). */
  get interrupt(): boolean {
    return [...this.#meant].some((call) => call.interrupt);
  }
  set interrupt(value: boolean) {
    for (const call of this.#meant) call.interrupt = value;
  }

  /** @throws ArgumentError while a call is under way: what `name` changes, the call still needs. */
  requireNone(name: string): void {
    const { size } = this.#running;
    if (size > 0)
      throw new ArgumentError(`${name}: ${size} call${size > 1 ? 's are' : ' is'} under way; await it first`);
  }

  /** Runs a callback of `call`: the pipeline that it sees has this call's `interrupt`, also after an await. */
  callback<P extends Interruptible & object, R>(call: Interruptible, pipe: P, body: (pipe: P) => R): R {
    const outer = this.#inCallback;
    this.#inCallback = call;
    try {
      return body(viewFor(call, pipe));
    } finally {
      this.#inCallback = outer;
    }
  }
}

/** The pipeline itself but for `interrupt`. Methods keep the pipeline as their `this`, which holds private fields. */
function viewFor<P extends object>(call: Interruptible, pipe: P): P {
  return new Proxy(pipe, {
    get(target, key) {
      if (key === 'interrupt') return call.interrupt;
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' && key !== 'constructor' ? (value.bind(target) as unknown) : value;
    },
    set(target, key, value) {
      if (key !== 'interrupt') return Reflect.set(target, key, value);
      call.interrupt = Boolean(value);
      return true;
    },
  });
}
