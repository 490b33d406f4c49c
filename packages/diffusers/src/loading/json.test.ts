import fc from 'fast-check';
import { FormatError, shortJson } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { expect, test } from 'vitest';
import { memoryFiles } from './files.ts';
import { describeJson, parseJson, parseJsonObject, readJson, writePythonJson } from './json.ts';
import { lookUp } from './look-up.ts';

const runs = fuzzRuns(3000);

test("Python's extra words are values", () => {
  expect(parseJson('{"a": -Infinity, "b": [NaN, Infinity], "c": "NaN"}', 'x.json')).toEqual({
    a: -Infinity,
    b: [NaN, Infinity],
    c: 'NaN',
  });
});

test('agrees with JSON.parse on what both can read, and writes what it reads', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      // A NaN around it forces the own parser.
      expect(parseJson(`[NaN, ${text}]`, 'x')).toEqual([NaN, JSON.parse(text)]);
      expect(parseJson(writePythonJson(value), 'x')).toEqual(JSON.parse(text));
    }),
  );
});

test('non-finite numbers survive writing', () => {
  expect(writePythonJson({ b: [NaN], a: -Infinity })).toBe(
    '{\n  "a": -Infinity,\n  "b": [\n    NaN\n  ]\n}\n',
  );
});

test.each([
  ['{"a": 1,\n "b" 2}', 'f.json:2:6: expected \':\' after key "b", found "2"'],
  ['{"a": 1', "f.json:1:8: expected ',' or '}', found the end of the file"],
  ['{"a": 1,}', 'f.json:1:9: expected a key in double quotes, found "}"'],
  ['[1 2]', "f.json:1:4: expected ',' or ']', found \"2\""],
  ['', 'f.json:1:1: expected a value, found the end of the file'],
  ['"a\nb"', 'f.json:1:3: a string does not end on its line'],
  ['{"a": "\\q"}', 'f.json:1:9: unknown escape \\q'],
  ['1 x', 'f.json:1:3: unexpected "x" after the value'],
  ['nan', 'f.json:1:1: expected a value, found "n"'],
])('%j is refused at its place', (text, message) => {
  expect(() => parseJson(text, 'f.json')).toThrow(message);
});

test.each(['[', '{"a":'])('depth is bounded: %s', (open) => {
  for (const inside of ['NaN', '1', ''])
    expect(() => parseJson(`${open.repeat(100_000)}${inside}`, 'f.json')).toThrow('nested deeper than 256');
  const close = open === '[' ? ']' : '}';
  expect(() => parseJson(`${open.repeat(300)}1${close.repeat(300)}`, 'f.json')).toThrow('deeper than 256');
  expect(() => parseJson(`${open.repeat(250)}1${close.repeat(250)}`, 'f.json')).not.toThrow();
});

test('the number of values is bounded: parsed, they take far more memory than text', () => {
  expect(() => parseJson(`[${'[],'.repeat(3e6)}0]`, 'f.json')).toThrow(
    'f.json: holds 6000002 values, at most 4000000 are read',
  );
});

test('brackets in strings are no depth', () => {
  const text = JSON.stringify({ a: '[{'.repeat(1000), b: `\\"${'['.repeat(1000)}` });
  expect(parseJson(text, 'f.json')).toEqual(JSON.parse(text));
});

test('a message quotes little of the file, however long its names and values are', () => {
  const long = 'x'.repeat(2_000_000);
  const bad = [`{"${long}" 1}`, `"${long}`, `[${long}]`, `${'\n'.repeat(1_000_000)}x`, `{"a": "${long}", b}`];
  for (const text of bad) {
    let message = '';
    expect(() => {
      try {
        parseJson(text, 'f.json');
      } catch (error) {
        message = (error as Error).message;
        throw error;
      }
    }).toThrow(FormatError);
    expect(message.length).toBeLessThan(200);
  }
  for (const value of [long, [long, long], { [long]: long }, Array(1e5).fill([[1]])]) {
    expect(shortJson(value).length).toBeLessThanOrEqual(100);
    expect(describeJson(value).length).toBeLessThanOrEqual(60);
  }
  expect(shortJson({ a: [1, 'b', null, true], c: {} })).toBe('{"a":[1,"b",null,true],"c":{}}');
});

test('the size of a file is checked before it is read', async () => {
  const files = memoryFiles({ 'a.json': '{"a": 1}' }, 'm');
  const long = {
    ...files,
    source: async () => ({
      name: 'a.json',
      bytes: 700e6,
      read: async () => Promise.reject(new Error('read')),
    }),
  };
  await expect(readJson(files, 'a.json')).resolves.toEqual({ a: 1 });
  await expect(readJson(long, 'a.json')).rejects.toThrow(
    'm/a.json: has 700000000 bytes, at most 16777216 are read',
  );
});

test('of equal keys the last counts, in both parsers', () => {
  expect(parseJson('{"a": 1, "a": 2}', 'f')).toEqual({ a: 2 });
  expect(parseJson('{"a": NaN, "a": 2}', 'f')).toEqual({ a: 2 });
});

test('a table holds its own names only', () => {
  const table = { a: 1 };
  expect(lookUp(table, 'a')).toBe(1);
  for (const name of ['b', 'constructor', '__proto__', 'toString', 1, null, undefined])
    expect(lookUp(table, name)).toBeUndefined();
});

test('fuzz: any text gives a value or one FormatError with its place, and touches no prototype', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'NaN',
      '-',
      '1e9',
      '1e999',
      'null',
      '\n',
      '\u0000',
    ),
    fc.constantFrom('"__proto__":', '"constructor":', '"prototype":', '"toString":'),
    fc.string({ maxLength: 4 }),
    fc.json({ maxDepth: 2 }),
  );
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
  const before = Object.getOwnPropertyNames(Object.prototype);
  fc.assert(
    fc.property(text, (t) => {
      try {
        parseJson(t, 'f.json');
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        expect((error as Error).message).toMatch(/^f\.json:\d+:\d+: /);
        expect((error as Error).message.length).toBeLessThan(300);
      }
    }),
    runs,
  );
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
});

test('__proto__ is an ordinary key', () => {
  const value = parseJsonObject('{"__proto__": {"x": NaN}}', 'f.json');
  expect(Object.keys(value)).toEqual(['__proto__']);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
});

test('a file with another value than an object is refused', () => {
  expect(() => parseJsonObject('[1]', 'f.json')).toThrow(
    'f.json: must hold a JSON object, found a list of 1',
  );
});

test("Python's floats are written as floats again, at any depth", async () => {
  const text =
    '{"a": 1.0, "b": 1, "c": [0.0, 2], "d": {"e": -3.0, "f": 3}, "g": 1e2, "h": "\\"i\\": 4.0", "k": 1e-05}';
  const config = await readJson(memoryFiles({ 'config.json': text }), 'config.json');
  expect(JSON.parse(writePythonJson(config))).toEqual(config);
  expect(writePythonJson(config).replace(/\s+/g, ' ')).toBe(
    '{ "a": 1.0, "b": 1, "c": [ 0.0, 2.0 ], "d": { "e": -3.0, "f": 3 }, "g": 100.0, "h": "\\"i\\": 4.0", "k": 0.00001 } ',
  );
});
