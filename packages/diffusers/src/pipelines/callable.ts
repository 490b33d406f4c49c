// Makes instances of a class callable: `pipe(prompt)` instead of `pipe.call(prompt)`. The constructor returns a
// function that carries the class's prototype and fields.

export abstract class Callable {
  constructor() {
    const self = (...args: readonly unknown[]): unknown => (self as unknown as Callable).invoke(...args);
    return Object.setPrototypeOf(self, new.target.prototype) as Callable;
  }

  /** Runs when the instance is called as a function. */
  protected abstract invoke(...args: readonly unknown[]): unknown;
}
