// One op object for equal attributes: dispatch caches kernels by op object, so functions that are called again with the
// same attributes reuse the object.

/** The most attribute sets of a function; beyond them all are dropped, and the next calls build their keys again. */
const most = 4096;

interface Level<O> {
  op?: O;
  next?: Map<unknown, Level<O>>;
}

/** Ops of one function, by the attributes that vary: numbers, names, or objects that are shared themselves. */
export class SharedOps<O extends object> {
  #root: Level<O> = {};
  #count = 0;

  /** The op for these values; `make` gives it the first time. */
  of(values: readonly unknown[], make: () => O): O {
    let at = this.#root;
    for (const value of values) {
      at.next ??= new Map();
      let next = at.next.get(value);
      if (!next) at.next.set(value, (next = {}));
      at = next;
    }
    if (at.op) return at.op;
    if (++this.#count > most) {
      this.#root = {};
      this.#count = 0;
      return make();
    }
    return (at.op = make());
  }
}
