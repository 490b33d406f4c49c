// Remembers which numbers of a config are floats in Python. JavaScript does not distinguish `1.0` from `1`, but
// transformers checks types and refuses a config whose `initializer_factor: 1.0` was saved as `1`.

const noted = new WeakMap<object, ReadonlySet<string>>();

/** Matches "key": followed by a number or list of numbers of which one has a point or an exponent. */
const floatEntry = /"((?:[^"\\]|\\.){1,200})"\s*:\s*(?:-?\d+(?:\.\d+|[eE])|\[[\d\s,eE+-]*\.\d)/g;

/** Notes for `value`, parsed from `text`, the keys with floats. The note is not part of copies of the value. */
export function noteFloats<T extends object>(value: T, text: string): T {
  noted.set(value, new Set([...text.matchAll(floatEntry)].map(([, key]) => key!)));
  return value;
}

/** The keys, at any depth, noted for `value` by noteFloats(). */
export function floatsOf(value: unknown): ReadonlySet<string> {
  return (typeof value === 'object' && value !== null && noted.get(value)) || new Set();
}
