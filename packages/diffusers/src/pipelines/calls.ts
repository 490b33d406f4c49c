// The running calls of one pipeline, each with its own `interrupt`: no state of a call is stored on the pipeline.

import { ArgumentError } from '@darkroom/core';
import type { Interruptible } from './options.ts';

export class Calls {
  readonly #running = new Set<Interruptible>();
  /** The call whose callback is executing; undefined while a callback awaits a promise. */
  #inCallback: Interruptible | undefined;

  start<C extends Interruptible>(call: C): C {
    this.#running.add(call);
    return call;
  }
  end(call: Interruptible): void {
    this.#running.delete(call);
  }

  /** The calls that `interrupt` applies to. */
  get #addressed(): Iterable<Interruptible> {
    return this.#inCallback ? [this.#inCallback] : this.#running;
  }
  /** Inside a callback: that call's flag. Outside: true if any running call is interrupted; setting it sets all. */
  get interrupt(): boolean {
    return [...this.#addressed].some((call) => call.interrupt);
  }
  set interrupt(value: boolean) {
    for (const call of this.#addressed) call.interrupt = value;
  }

  /** Guards the method `name`, which changes state that calls read. @throws ArgumentError while a call is running. */
  requireNone(name: string): void {
    const { size } = this.#running;
    if (size > 0)
      throw new ArgumentError(`${name}: ${size} call${size > 1 ? 's are' : ' is'} under way; await it first`);
  }

  /** Runs a callback of `call` with a view of `pipe` whose `interrupt` is this call's, also after an await. */
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

/** A proxy of `pipe` with the call's `interrupt`. Methods run on `pipe` itself, which holds the private fields. */
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
