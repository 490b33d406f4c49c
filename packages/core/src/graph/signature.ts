// Calls as data: arguments or result of a call, with each tensor replaced by a name after its position. The rest
// (option names, flags, numbers inside options) is part of the trace.

import { ArgumentError, FormatError } from '../errors.ts';
import { Tensor } from '../tensor.ts';

/** Arguments or a result as JSON; a tensor is { $tensor: its name }. */
export type Template =
  null | boolean | number | string | readonly Template[] | { readonly [key: string]: Template };

const mark = '$tensor';

/** A call or result without its tensors, and the tensors by name. */
export interface SplitCall {
  readonly template: Template;
  /** Tensors by name. A number stands for a tensor of one element. */
  readonly tensors: ReadonlyMap<string, Tensor | number>;
}

/**
 * Splits arguments: tensors are named `arg0`, `arg2.addedCond.timeIds`. A number that is an argument of its own (a
 * timestep) is an input as well, of one element. Trailing arguments that say nothing (undefined, {}) are left out.
 */
export function splitCall(args: readonly unknown[]): SplitCall {
  const said = args.findLastIndex((a) => a !== undefined && !isEmptyRecord(a)) + 1;
  const tensors = new Map<string, Tensor | number>();
  const template = args.slice(0, said).map((arg, i): Template => {
    const name = `arg${i}`;
    if (typeof arg !== 'number') return take(arg, name, tensors);
    tensors.set(name, arg);
    return { [mark]: name };
  });
  return { template, tensors };
}

/** Splits a result: a single tensor is named `output`, those in records and lists by their keys. */
export function splitResult(value: unknown): {
  readonly template: Template;
  readonly tensors: Map<string, Tensor>;
} {
  const tensors = new Map<string, Tensor>();
  const template = take(value, '', tensors);
  return { template, tensors };
}

/** `template` with its tensors put back. */
export function putBack(template: Template, tensors: ReadonlyMap<string, unknown>): unknown {
  if (typeof template !== 'object' || template === null) return template;
  if (isList(template)) return template.map((t) => putBack(t, tensors));
  const name = template[mark];
  if (typeof name === 'string') return tensors.get(name);
  return Object.fromEntries(Object.entries(template).map(([key, t]) => [key, putBack(t, tensors)]));
}

/** The arguments as text: `float32[2,4,8,8], 981, {"flag":true}`. */
export function describeCall(template: Template, typeOf: (name: string) => string): string {
  const text = (t: Template): string => {
    if (typeof t !== 'object' || t === null) return JSON.stringify(t);
    if (isList(t)) return `[${t.map(text).join(', ')}]`;
    if (typeof t[mark] === 'string') return typeOf(t[mark]);
    return `{ ${Object.entries(t).map(([key, v]) => `${key}: ${text(v)}`).join(', ')} }`; // prettier-ignore
  };
  return isList(template) ? template.map(text).join(', ') : text(template);
}

/** Checks a template from a file and gives the names of its tensors; throws FormatError. */
export function validateTemplate(value: unknown, where: string): { template: Template; names: string[] } {
  const names: string[] = [];
  let nodes = 0;
  const visit = (v: unknown, depth: number): void => {
    if (++nodes > 10_000 || depth > 16) throw new FormatError(`${where}: is too large or too deep`);
    if (v === null || typeof v !== 'object') return;
    if (Array.isArray(v)) return v.forEach((x) => visit(x, depth + 1));
    if (!Object.hasOwn(v, mark)) return Object.values(v).forEach((x) => visit(x, depth + 1));
    const name = (v as Record<string, unknown>)[mark];
    if (typeof name !== 'string' || Object.keys(v).length > 1)
      throw new FormatError(`${where}: not a tensor: ${JSON.stringify(v).slice(0, 80)}`);
    names.push(name);
  };
  visit(value, 0);
  return { template: value as Template, names };
}

function isList(t: Template): t is readonly Template[] {
  return Array.isArray(t);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
const isEmptyRecord = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((v) => v === undefined);

function take(value: unknown, path: string, tensors: Map<string, Tensor | number>): Template {
  if (value instanceof Tensor) {
    const name = path === '' ? 'output' : path;
    tensors.set(name, value);
    return { [mark]: name };
  }
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  const below = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (Array.isArray(value)) return value.map((v, i) => take(v, below(String(i)), tensors));
  if (isRecord(value) && !Object.hasOwn(value, mark)) {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined);
    return Object.fromEntries(entries.map(([key, v]) => [key, take(v, below(key), tensors)]));
  }
  const kind = typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
  throw new ArgumentError(
    `trace: ${path || 'the result'} is of type ${kind}; a traced call takes and gives tensors, and JSON values beside them`,
  );
}
