// Tokenizer folders as transformers saves them today (5.18): tokenizer.json and tokenizer_config.json, nothing else.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DarkroomError } from '@darkroom/core';
import { fuzzRuns } from '@darkroom/core/testing';
import { memoryFiles } from '../loading/files.ts';
import { emoji } from '../node/testing.ts';
import { clipTokenizerFromFiles } from './clip.ts';
import type { ClipTokenizer } from './clip.ts';

const read = (name: string): string => readFileSync(join(emoji, 'tokenizer', name), 'utf8');
const vocab = JSON.parse(read('vocab.json')) as Record<string, number>;
const merges = read('merges.txt').trim().split('\n').slice(1);
const special = (id: number, content: string): object => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

/** The file, with parts of it replaced. */
function tokenizerJson(model: object = {}, more: object = {}): string {
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(1912, '<|startoftext|>'), special(1913, '<|endoftext|>')],
    model: {
      type: 'BPE',
      unk_token: '<|endoftext|>',
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      vocab,
      merges: merges.map((merge) => merge.split(' ')),
      ...model,
    },
    ...more,
  });
}
const config = JSON.stringify({
  backend: 'tokenizers',
  bos_token: '<|startoftext|>',
  eos_token: '<|endoftext|>',
  pad_token: '<|endoftext|>',
  unk_token: '<|endoftext|>',
  model_max_length: 77,
  tokenizer_class: 'CLIPTokenizer',
});
const load = (files: Record<string, string>): Promise<ClipTokenizer> =>
  clipTokenizerFromFiles(
    memoryFiles(Object.fromEntries(Object.entries(files).map(([k, v]) => [`tokenizer/${k}`, v])), 'model'),
  );
const today = (json: string = tokenizerJson()): Record<string, string> => ({
  'tokenizer.json': json,
  'tokenizer_config.json': config,
});

// By transformers 5.18, of either layout.
const known: Readonly<Record<string, readonly number[]>> = {
  'a fox on a blue background!': [1912, 320, 670, 343, 523, 320, 590, 623, 256, 1913],
};

describe('a folder with tokenizer.json alone', () => {
  test.each([
    ['pairs', {}],
    ['strings', { merges }],
    ['some of each', { merges: merges.map((merge, i) => (i % 2 ? merge : merge.split(' '))) }],
  ])('gives the ids of vocabulary and merges in files of their own; merges as %s', async (_, model) => {
    const [one, other] = [
      await load(today(tokenizerJson(model))),
      await clipTokenizerFromFiles(
        memoryFiles({
          'tokenizer/vocab.json': read('vocab.json'),
          'tokenizer/merges.txt': read('merges.txt'),
        }),
      ),
    ];
    for (const [text, ids] of Object.entries(known)) expect(one.encodeFull(text)).toEqual(ids);
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), async (text) => {
        expect(one.encodeFull(text)).toEqual(other.encodeFull(text));
      }),
      fuzzRuns(300),
    );
    expect([one.bosId, one.eosId, one.padId, one.maxLength]).toEqual([1912, 1913, 1913, 77]);
  });

  test('is written so that old and new readers take it', async () => {
    const { files } = await load(today());
    expect(Object.keys(files).sort()).toEqual([
      'merges.txt',
      'tokenizer.json',
      'tokenizer_config.json',
      'vocab.json',
    ]);
    expect(JSON.parse(files['vocab.json']!)).toEqual(vocab);
    expect(files['merges.txt']).toBe(`#version: 0.2\n${merges.join('\n')}\n`);
    const { 'tokenizer.json': _, ...old } = files;
    expect((await load(old)).encodeFull('a fox')).toEqual((await load(today())).encodeFull('a fox'));
  });

  test('added tokens are found anywhere and in any case, also by readers of the old files', async () => {
    const added = ['<cat-toy>', '<cat-toy>_1', 'Bad Hand'].map((content, i) => ({
      ...special(1914 + i, content),
      normalized: true,
      special: false,
    }));
    const specials = [special(1912, '<|startoftext|>'), special(1913, '<|endoftext|>')];
    const one = await load(today(tokenizerJson({}, { added_tokens: [...specials, ...added] })));
    const { 'tokenizer.json': _, ...old } = one.files;
    expect(JSON.parse(old['added_tokens.json']!)).toEqual({
      '<cat-toy>': 1914,
      '<cat-toy>_1': 1915,
      'Bad Hand': 1916,
    });
    for (const tokenizer of [one, await load(old)]) {
      // By transformers 5.18.
      expect(tokenizer.encodeFull('a <cat-toy> <cat-toy>_1 fox')).toEqual([
        1912, 320, 1914, 1915, 670, 343, 1913,
      ]);
      expect(tokenizer.encodeFull('<CAT-Toy> x')).toEqual([1912, 1914, 343, 1913]);
      expect(tokenizer.encodeFull('x<cat-toy>y')).toEqual([1912, 343, 1914, 344, 1913]);
      expect(tokenizer.encodeFull('badhandsome bad hand Bad Hand')).toEqual([
        1912, 570, 67, 703, 927, 1328, 1916, 1916, 1913,
      ]);
    }
  });
});

test.each([
  ['{}', 'tokenizer.json: model must be an object, found undefined'],
  [tokenizerJson({ type: 'Unigram' }), 'tokenizer.json: model.type must be "BPE", found "Unigram"'],
  [tokenizerJson({ end_of_word_suffix: null }), 'model.end_of_word_suffix must be "</w>", as in CLIP, found null'],
  [tokenizerJson({ merges: ['a b c'] }), 'model.merges[0] must be two tokens, as a list or with one space between, found "a b c"'],
  [tokenizerJson({ vocab: [] }), 'model.vocab must be an object, found a list of 0'],
  [tokenizerJson({ vocab: { a: 1.5 } }), 'tokenizer.json: token "a" must have an integer id >= 0, found 1.5'],
  [tokenizerJson({ vocab: { a: 1 } }, { added_tokens: [] }), 'tokenizer_config.json: bos_token is "<|startoftext|>", which model/tokenizer/tokenizer.json does not hold'],
  [tokenizerJson({}, { added_tokens: [{ id: -1, content: 'x' }] }), 'added_tokens[0]: id must be an integer >= 0, found -1'],
  [tokenizerJson({}, { added_tokens: [{ id: 5, content: 'x', lstrip: 1 }] }), 'added_tokens[0]: lstrip must be true or false, found 1'],
] as const)('a bad tokenizer.json is refused: %#', async (json, message) => {
  await expect(load(today(json))).rejects.toThrow(message);
}); // prettier-ignore

test('a folder without any of the files says what it needs', async () => {
  await expect(load({ 'vocab.json': '{}' })).rejects.toThrow(
    "model: has no 'tokenizer/merges.txt', nor 'tokenizer/tokenizer.json'",
  );
  await expect(load({ x: '' })).rejects.toThrow(
    "has no 'tokenizer/vocab.json' and 'tokenizer/merges.txt', nor",
  );
});

test('any change of a tokenizer.json gives a tokenizer or one error that names the file', async () => {
  const parsed = JSON.parse(tokenizerJson({ vocab: { ...vocab }, merges: merges.slice(0, 20) })) as object;
  const paths = ['version', 'added_tokens', 'added_tokens.0', 'added_tokens.1.content', 'added_tokens.0.id', 'model', 'model.type', 'model.vocab', 'model.vocab.a', 'model.merges', 'model.merges.3', 'model.end_of_word_suffix']; // prettier-ignore
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.oneof(fc.anything(), fc.constantFrom('__proto__', 'constructor', [], {}, 1e300, [[]], [['a']], -0)),
      async (path, value) => {
        const json = structuredClone(parsed) as Record<string, unknown>;
        const keys = path.split('.');
        const last = keys.pop()!;
        const at = keys.reduce<Record<string, unknown>>((o, k) => o[k] as Record<string, unknown>, json);
        at[last] = value;
        let text: string;
        try {
          text = JSON.stringify(json, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v));
        } catch {
          return; // not JSON at all
        }
        try {
          (await load(today(text))).encode('a fox');
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
          expect((error as Error).message).toMatch(/^model\/tokenizer\/tokenizer(_config)?\.json/);
          expect((error as Error).message.length).toBeLessThan(600);
        }
      },
    ),
    fuzzRuns(150),
  );
});
