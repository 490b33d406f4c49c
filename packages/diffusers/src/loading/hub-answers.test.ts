// The hub's answers: every bad field is refused by name, before it is used.

import { FormatError } from '@darkroom/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Answer } from './ask.ts';
import { checkFileHeaders, checkModelInfo } from './hub-answers.ts';

const runs = { numRuns: Number(process.env['DARKROOM_PROPERTY_RUNS'] ?? 300), seed: 1 };
const sha = 'c0ffee'.padEnd(40, '0');
const good = { sha, siblings: [{ rfilename: 'unet/config.json', size: 5 }, { rfilename: 'a.safetensors' }] };

test('commit, paths and sizes', () => {
  expect(checkModelInfo(good, 'm')).toEqual({
    commit: sha,
    sizes: new Map([
      ['unet/config.json', 5],
      ['a.safetensors', undefined],
    ]),
    hashes: new Map(),
  });
});

test('hashes: of the content for large files, of git for others', () => {
  const [large, small] = ['a'.repeat(64), 'b'.repeat(40)];
  const siblings = [
    { rfilename: 'a.safetensors', blobId: 'c'.repeat(40), lfs: { sha256: large } },
    { rfilename: 'a.json', blobId: small },
  ];
  expect([...checkModelInfo({ sha, siblings }, 'm').hashes]).toEqual([
    ['a.safetensors', large],
    ['a.json', small],
  ]);
  const odd = [{ rfilename: 'a.json', blobId: '../x' }];
  expect(() => checkModelInfo({ sha, siblings: odd }, 'm')).toThrow(
    `m: the hub's answer gives "a.json" the hash "../x", which is not 40 or 64 hex digits`,
  );
});

test.each([
  null,
  undefined,
  5,
  {},
  [],
  '',
  'main',
  '../x',
  '../../../../outside',
  `${sha}/..`,
  sha.slice(1),
  `${sha}0`,
  sha.toUpperCase(),
  `${sha}\n`,
  `g${sha.slice(1)}`,
  'c'.repeat(64),
  { toString: () => sha },
])('the commit %j is refused', (bad) => {
  expect(() => checkModelInfo({ ...good, sha: bad }, 'm')).toThrow(
    /^m: the hub's answer names the commit .* not 40 hex/s,
  );
});

test.each([
  '',
  '.',
  '..',
  '../x',
  '/etc/passwd',
  'a/../../x',
  'a/..',
  'a\\b',
  '..\\x',
  'C:/x',
  'c:x',
  'a//b',
  './a',
  'a/',
  'a\0b',
  null,
  5,
  {},
  ['a'],
  undefined,
])('the path %j is refused', (rfilename) => {
  const call = (): unknown => checkModelInfo({ sha, siblings: [...good.siblings, { rfilename }] }, 'm');
  expect(call).toThrow(FormatError);
  expect(call).toThrow(/^m: the hub's /);
});

test.each([null, 5, 'x', {}, undefined, { 0: { rfilename: 'a' } }])(
  'the list of files %j is refused',
  (siblings) => {
    expect(() => checkModelInfo({ sha, siblings }, 'm')).toThrow("m: the hub's answer lists the files as ");
  },
);
test.each(['abc', -1, 0.5, 2 ** 53, NaN, Infinity, {}, [5], true])('the size %j is refused', (size) => {
  const siblings = [{ rfilename: 'a', size }];
  expect(() => checkModelInfo({ sha, siblings }, 'm')).toThrow('m: the hub\'s answer gives "a" the size ');
});

test('any answer is taken as it must be, or refused with a FormatError', () => {
  const path = fc.oneof(fc.string(), fc.constantFrom('a', 'b/c', '../x', '/x'), fc.jsonValue());
  const size = fc.oneof(fc.jsonValue(), fc.nat());
  const sibling = fc.oneof(fc.record({ rfilename: path, size }, { requiredKeys: [] }), fc.jsonValue());
  const info = fc.record({
    sha: fc.oneof(fc.constant(sha), fc.jsonValue()),
    siblings: fc.oneof(fc.array(sibling), fc.jsonValue()),
  });
  fc.assert(
    fc.property(fc.oneof(info, fc.jsonValue()), (json) => {
      try {
        const { commit, sizes } = checkModelInfo(json, 'm');
        expect(commit).toBe(sha);
        for (const [name, bytes] of sizes) {
          expect(
            new URL(name.split('/').map(encodeURIComponent).join('/'), 'http://h/root/').pathname,
          ).toMatch(/^\/root\/./);
          expect(bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0)).toBe(true);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        expect((error as Error).message).toMatch(/^m: /);
      }
    }),
    runs,
  );
});

describe('the headers of a file', () => {
  const read = (headers: Record<string, string>, status = 200): ReturnType<typeof checkFileHeaders> =>
    checkFileHeaders({ headers: new Headers(headers), status } as Answer, 'm/f');
  const long = 'Ab'.repeat(32);

  test.each([
    `"${sha}"`,
    sha,
    `W/"${sha}"`,
    `w/"${sha.toUpperCase()}"`,
    sha.toUpperCase(),
    `"${long}"`,
    long.toLowerCase(),
  ])('the etag %s is a hash', (etag) => {
    const { etag: got } = read({ etag, 'content-length': '5' })!;
    expect(got).toMatch(/^([0-9a-f]{40}|[0-9a-f]{64})$/);
    expect(etag.toLowerCase()).toContain(got);
  });

  test.each([
    '',
    '""',
    'abc',
    '../x',
    `${sha}0`,
    sha.slice(1),
    'g'.repeat(40),
    `"${sha}`,
    `${sha}-gzip`,
    'x'.repeat(64),
    '0x12',
    '*',
  ])('the etag %j is refused: nothing is taken unchecked', (etag) => {
    expect(() => read({ 'x-linked-etag': etag, 'x-linked-size': '5' }, 302)).toThrow(
      /^m\/f: the hub gave the etag .* no hash/,
    );
  });

  test.each([
    'abc',
    '-1',
    '1.5',
    '1e3',
    '',
    '0x10',
    '9007199254740992',
    '99999999999999999999',
    '5, 5',
    'NaN',
    'Infinity',
  ])('the size %j is refused', (size) => {
    expect(() => read({ 'x-linked-etag': sha, 'x-linked-size': size }, 302)).toThrow(
      'm/f: the hub gave the size ',
    );
    expect(() => read({ etag: sha, 'content-length': size })).toThrow('m/f: the hub gave the size ');
  });

  test('those of a redirect say nothing about the file, those that link do', () => {
    expect(read({ etag: sha, 'content-length': '5' }, 302)).toBeUndefined();
    expect(
      read({ etag: sha, 'content-length': '5', 'x-linked-etag': long, 'x-linked-size': '7' }, 302),
    ).toEqual({
      etag: long.toLowerCase(),
      bytes: 7,
    });
    expect(read({ etag: sha })).toBeUndefined();
  });
});
