// Values in messages: the kind of a value and at most a line of it.

import { formatShape, shorten, shortJson } from './errors.ts';
import { Tensor } from './tensor.ts';

const longest = 60;

/** `4`, `the string "4"`, `a list of 3`, `a tensor [1,4,8,8]`, `an object`, `null`. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return `the string ${shortJson(value, longest)}`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Tensor) return `a tensor ${formatShape(value.shape)}`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) {
    const name: unknown = (Object.getPrototypeOf(value) as object | null)?.constructor?.name;
    return typeof name === 'string' && name !== 'Object' ? `a ${shorten(name, longest)}` : 'an object';
  }
  return String(value);
}
