// A table by op kind that programs can extend: core's definitions, the kernels of each backend. The constructor takes
// the built-in kinds; register() adds a kind from outside.

import { ArgumentError } from './errors.ts';

/** Entries by op kind. */
export class OpTable<Entry> {
  readonly #name: string;
  readonly #entries: Map<string, Entry>;

  /** `name` says in errors what the table holds. */
  constructor(name: string, builtIn: Readonly<Record<string, Entry>>) {
    this.#name = name;
    this.#entries = new Map(Object.entries(builtIn));
  }

  get(kind: string): Entry | undefined {
    return this.#entries.get(kind);
  }

  /** Kinds in the order in which they came. */
  kinds(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** Adds a kind; the same entry may be added again. @throws ArgumentError when the kind has another entry. */
  register(kind: string, entry: Entry): void {
    const known = this.#entries.get(kind);
    if (known !== undefined && known !== entry)
      throw new ArgumentError(`${this.#name}: op kind '${kind}' is there already`);
    this.#entries.set(kind, entry);
  }
}
