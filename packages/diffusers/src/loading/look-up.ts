// Looks up a name from a file in a table: own keys only, never 'constructor' or '__proto__' of the prototype.

/** The entry of `name`; undefined if the table has none. */
export function lookUp<T>(table: Readonly<Record<string, T>>, name: unknown): T | undefined {
  return typeof name === 'string' && Object.hasOwn(table, name) ? table[name] : undefined;
}
