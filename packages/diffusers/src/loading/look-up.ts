// Looking a name from a file up in a table of ours: only what the table itself holds, never 'constructor' or
// '__proto__', which every object has from its prototype.

export function lookUp<T>(table: Readonly<Record<string, T>>, name: unknown): T | undefined {
  return typeof name === 'string' && Object.hasOwn(table, name) ? table[name] : undefined;
}
