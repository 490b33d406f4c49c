// JSON as Python writes it: NaN, Infinity and -Infinity are values (a saved DPM-Solver config holds -Infinity).
// Not a lenient parser beyond that: comments, trailing commas and single quotes are errors with line and column.
// Reference: RFC 8259, and the json module of Python for the three extra words.

import { FormatError, jsonSize, shortJson } from '@darkroom/core';
import type { ModelFiles } from './files.ts';
import { floatsOf, noteFloats } from './python-floats.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/**
 * The value in `text`; of equal keys the last is used. @throws FormatError as `file:line:column: what is wrong`; also
 * for nesting deeper than maxDepth, which Python would read, as callers recurse over the value
 */
export function parseJson(text: string, file: string): JsonValue {
  const { depth, values } = jsonSize(text);
  if (values > maxValues)
    throw new FormatError(`${file}: holds ${values} values, at most ${maxValues} are read`);
  try {
    if (depth <= maxDepth) return JSON.parse(text) as JsonValue;
  } catch {
    // Not plain JSON: the own parser reads Python's extra words, and reports the place of an error.
  }
  return new Parser(text, file).parse();
}

/** The object in `text`. @throws FormatError as parseJson does, and for any other value */
export function parseJsonObject(text: string, file: string): JsonObject {
  const value = parseJson(text, file);
  if (isJsonObject(value)) return value;
  throw new FormatError(`${file}: must hold a JSON object, found ${describeJson(value)}`);
}

/** Bytes of a vocabulary with its merges at most; published: 17 MB. */
const maxTextBytes = 64 * 2 ** 20;
/**
 * Bytes of any other JSON file at most; published: 1 MB, an index of shards. Parsed values take about 20 times as much.
 */
const maxJsonBytes = 16 * 2 ** 20;

/** The object in a checkpoint's JSON file. @throws FormatError */
export async function readJson(files: ModelFiles, path: string): Promise<JsonObject> {
  const text = await readBounded(files, path, maxJsonBytes);
  return noteFloats(parseJsonObject(text, `${files.describe()}/${path}`), text);
}

/** A file as UTF-8. @throws FormatError, before reading, if the file has more than `limit` bytes */
export async function readBounded(
  files: ModelFiles,
  path: string,
  limit: number = maxTextBytes,
): Promise<string> {
  const source = await files.source(path);
  if (source.bytes > limit)
    throw new FormatError(
      `${files.describe()}/${path}: has ${source.bytes} bytes, at most ${limit} are read`,
    );
  return new TextDecoder().decode(await source.read(0, source.bytes));
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value described in a few words, for messages. */
export function describeJson(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return isJsonObject(value) ? 'an object' : shortJson(value, 60);
}

/** Levels of nesting at most, more than any config has: a hostile file must not exhaust the stack. */
const maxDepth = 256;
/** Values in a file at most; published: some 1,000,000, in a tokenizer's merges. */
const maxValues = 4_000_000;
const words: Readonly<Record<string, JsonValue>> = {
  true: true,
  false: false,
  null: null,
  NaN: NaN,
  Infinity: Infinity,
  '-Infinity': -Infinity,
};
// prettier-ignore
const escapes: Readonly<Record<string, string>> = {
  '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t',
};

class Parser {
  readonly #text: string;
  readonly #file: string;
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  parse(): JsonValue {
    if (this.#text.startsWith('\ufeff')) this.#at = 1;
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail(`unexpected ${this.#here()} after the value`);
    return value;
  }

  #value(depth: number): JsonValue {
    if (depth > maxDepth) this.#fail(`nested deeper than ${maxDepth}`);
    this.#space();
    const c = this.#text[this.#at];
    if (c === '{') return this.#object(depth);
    if (c === '[') return this.#list(depth);
    if (c === '"') return this.#string();
    const word = /-?[A-Za-z]+/y;
    const number = /-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
    word.lastIndex = number.lastIndex = this.#at;
    const name = word.exec(this.#text)?.[0];
    if (name !== undefined && Object.hasOwn(words, name)) {
      this.#at += name.length;
      return words[name]!;
    }
    const digits = number.exec(this.#text)?.[0];
    if (digits === undefined) return this.#fail(`expected a value, found ${this.#here()}`);
    this.#at += digits.length;
    return Number(digits);
  }

  #object(depth: number): JsonObject {
    const entries: [string, JsonValue][] = [];
    this.#at++;
    if (this.#take('}')) return {};
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#fail(`expected a key in double quotes, found ${this.#here()}`);
      const key = this.#string();
      if (!this.#take(':')) this.#fail(`expected ':' after key ${shortJson(key)}, found ${this.#here()}`);
      entries.push([key, this.#value(depth + 1)]);
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail(`expected ',' or '}', found ${this.#here()}`);
    return Object.fromEntries(entries);
  }

  #list(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    this.#at++;
    if (this.#take(']')) return items;
    do items.push(this.#value(depth + 1));
    while (this.#take(','));
    if (!this.#take(']')) this.#fail(`expected ',' or ']', found ${this.#here()}`);
    return items;
  }

  #string(): string {
    let out = '';
    this.#at++;
    for (;;) {
      const c = this.#text[this.#at];
      if (c === undefined || c < ' ') this.#fail('a string does not end on its line');
      this.#at++;
      if (c === '"') return out;
      out += c === '\\' ? this.#escape() : c;
    }
  }

  #escape(): string {
    const c = this.#text[this.#at++] ?? '';
    if (Object.hasOwn(escapes, c)) return escapes[c]!;
    const hex = this.#text.slice(this.#at, this.#at + 4);
    if (c !== 'u' || !/^[0-9a-fA-F]{4}$/.test(hex)) {
      this.#at--;
      this.#fail(`unknown escape \\${c}`);
    }
    this.#at += 4;
    return String.fromCharCode(parseInt(hex, 16));
  }

  #take(c: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? '')) this.#at++;
  }

  #here(): string {
    const c = this.#text[this.#at];
    return c === undefined ? 'the end of the file' : JSON.stringify(c);
  }

  #fail(message: string): never {
    let line = 1;
    let start = 0;
    for (let end; (end = this.#text.indexOf('\n', start)) >= 0 && end < this.#at; start = end + 1) line++;
    throw new FormatError(`${this.#file}:${line}:${this.#at - start + 1}: ${message}`);
  }
}

/**
 * JSON for Python: non-finite numbers as its words, indented by two spaces, with sorted keys and a newline at the end.
 */
export function writePythonJson(value: unknown): string {
  return `${render(value, '', floatsOf(value), false)}\n`;
}

function render(value: unknown, indent: string, floats: ReadonlySet<string>, float: boolean): string {
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return String(value);
    return float && Number.isSafeInteger(value) ? value.toFixed(1) : JSON.stringify(value);
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  const inner = `${indent}  `;
  const list = Array.isArray(value);
  const items = list
    ? value.map((v) => render(v, inner, floats, float))
    : Object.entries(value)
        .filter(([, v]) => v !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([k, v]) => `${JSON.stringify(k)}: ${render(v, inner, floats, floats.has(k))}`);
  const [open, close] = list ? '[]' : '{}';
  return items.length === 0
    ? `${open}${close}`
    : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}
