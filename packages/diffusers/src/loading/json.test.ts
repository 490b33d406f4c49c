import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseJson, parseJsonObject, writePythonJson } from './json.ts';

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

test('depth is bounded', () => {
  expect(() => parseJson(`${'['.repeat(5000)}NaN`, 'f.json')).toThrow('nested deeper than 256');
});

test('__proto__ is an ordinary key', () => {
  const value = parseJsonObject('{"__proto__": {"x": NaN}}', 'f.json');
  expect(Object.keys(value)).toEqual(['__proto__']);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
});

test('an object is asked for', () => {
  expect(() => parseJsonObject('[1]', 'f.json')).toThrow(
    'f.json: must hold a JSON object, found a list of 1',
  );
});
