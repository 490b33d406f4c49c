// JSON as Python writes it: NaN, Infinity and -Infinity are values (a saved DPM-Solver config holds -Infinity).
// Not a lenient parser beyond that: comments, trailing commas and single quotes are errors with line and column.
// Reference: RFC 8259, and the json module of Python for the three extra words.

import { FormatError } from '@darkroom/core';
import type { ModelFiles } from './files.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** The value in `text`. Throws FormatError as `file:line:column: what is wrong`. */
export function parseJson(text: string, file: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return new Parser(text, file).parse(); // knows the extra words, and where it stopped
  }
}

/** As parseJson, for files that must hold an object. */
export function parseJsonObject(text: string, file: string): JsonObject {
  const value = parseJson(text, file);
  if (isJsonObject(value)) return value;
  throw new FormatError(`${file}: must hold a JSON object, found ${describeJson(value)}`);
}

/** An object read from a checkpoint's file. */
export async function readJson(files: ModelFiles, path: string): Promise<JsonObject> {
  return parseJsonObject(await files.readText(path), `${files.describe()}/${path}`);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value as it stands in messages, cut short. */
export function describeJson(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isJsonObject(value)) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The JSON of a value, cut to about a line: a message never repeats a hostile file. */
export function shortJson(value: unknown, room = 100): string {
  const text = renderUpTo(value, room);
  return text.length > room ? `${text.slice(0, room - 3)}...` : text;
}

/** The JSON of `value`, or more than `room` characters of its start. */
function renderUpTo(value: unknown, room: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, Math.max(0, room) + 1));
  if (typeof value !== 'object' || value === null) return String(value);
  const list = Array.isArray(value);
  let out = list ? '[' : '{';
  for (const key in value) {
    if (out.length > room) return out;
    if (out.length > 1) out += ',';
    if (!list) out += `${renderUpTo(key, room - out.length)}:`;
    out += renderUpTo((value as Record<string, unknown>)[key], room - out.length);
  }
  return out + (list ? ']' : '}');
}

/** Deeper nesting than any config has; keeps a hostile file from exhausting the stack. */
const maxDepth = 256;
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
      if (!this.#take(':'))
        this.#fail(`expected ':' after key ${JSON.stringify(key)}, found ${this.#here()}`);
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
    const before = this.#text.slice(0, this.#at).split('\n');
    throw new FormatError(`${this.#file}:${before.length}:${before.at(-1)!.length + 1}: ${message}`);
  }
}

/** JSON as Python reads it: non-finite numbers become its words; two spaces, sorted keys, a newline at the end. */
export function writePythonJson(value: unknown): string {
  return `${render(value, '')}\n`;
}

function render(value: unknown, indent: string): string {
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  const inner = `${indent}  `;
  const list = Array.isArray(value);
  const items = list
    ? value.map((v) => render(v, inner))
    : Object.entries(value)
        .filter(([, v]) => v !== undefined)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([k, v]) => `${JSON.stringify(k)}: ${render(v, inner)}`);
  const [open, close] = list ? '[]' : '{}';
  return items.length === 0
    ? `${open}${close}`
    : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}
