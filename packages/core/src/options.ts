// Options from JavaScript, which no type checker saw: unknown names are refused, not dropped in silence.

import { describe } from './describe.ts';
import { ArgumentError } from './errors.ts';

/** The names of an options type, as a value: `satisfies OptionNames<MyOptions>` keeps both in step. */
export type OptionNames<T> = { readonly [K in keyof Required<T>]: true };

/**
 * @throws ArgumentError when `given` is neither undefined nor an object, or has a key (with a value other than
 * undefined) that is not in `names`; the message gives the nearest name.
 */
export function checkOptions(op: string, given: unknown, names: object): void {
  if (given === undefined) return;
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new ArgumentError(`${op}: options must be an object, got ${describe(given)}`);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || Object.hasOwn(names, key)) continue;
    throw new ArgumentError(
      `${op}: there is no option '${key.slice(0, 60)}'${hint(key, Object.keys(names))}`,
    );
  }
}

/** `; did you mean 'x'?` for the nearest name, or the names there are when none is near. */
export function hint(given: string, names: readonly string[]): string {
  const near = nearest(given, names);
  if (near !== undefined) return `; did you mean '${near}'?`;
  return names.length > 0 && names.length <= 12 ? `; there are ${names.join(', ')}` : '';
}

/** The name most like `given`, compared without case and separators; undefined when none is near. */
export function nearest(given: string, names: readonly string[]): string | undefined {
  const word = plain(given.slice(0, 60));
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(word, plain(name));
    if (distance < least) [best, least] = [name, distance];
  }
  return best;
}

const plain = (word: string): string => word.toLowerCase().replace(/[^a-z0-9]/g, '');

/** Levenshtein's: insertions, deletions and replacements that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
