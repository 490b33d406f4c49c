// One op object for equal attributes: dispatch keeps what it knows of an op by the object, so functions that are called
// again and again with the same attributes give it the same one.

/** Attribute sets that are kept; beyond them all are forgotten, which costs a text a call until they are known again. */
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
