// Which numbers of a config are floats in Python: `1.0` and `1` are the same to JavaScript, but transformers checks
// types and refuses a config whose `initializer_factor: 1.0` came back as `1`.

const noted = new WeakMap<object, ReadonlySet<string>>();

/** "key": number, or a list of numbers, with a point or an exponent in one of them. */
const floatEntry = /"((?:[^"\\]|\\.){1,200})"\s*:\s*(?:-?\d+(?:\.\d+|[eE])|\[[\d\s,eE+-]*\.\d)/g;

/** Remembers for `value`, parsed from `text`, which keys hold floats there. Copies of the value know nothing of it. */
export function noteFloats<T extends object>(value: T, text: string): T {
  noted.set(value, new Set([...text.matchAll(floatEntry)].map(([, key]) => key!)));
  return value;
}

/** The keys of floats that were noted for a value, at any depth of it. */
export function floatsOf(value: unknown): ReadonlySet<string> {
  return (typeof value === 'object' && value !== null && noted.get(value)) || new Set();
}
