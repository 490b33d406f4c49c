import { expect, test } from 'vitest';
import { memoryFiles } from '../loading/files.ts';
import { ClipTokenizer, clipTokenizerFromFiles } from './clip.ts';

// prettier-ignore
const vocab = {
  '!': 0, a: 1, c: 2, t: 3, 'a</w>': 4, 't</w>': 5, 'at</w>': 6, 'cat</w>': 7, 'c</w>': 8, '!</w>': 9, '1</w>': 10,
  '<|startoftext|>': 11, '<|endoftext|>': 12, 'Ï': 13, 'ĥ</w>': 14, 'ĥ': 15, 'Ĥ</w>': 16,
};
const merges = '#version: 0.2\na t</w>\nc at</w>\n';
const special = (extra: object = {}): string =>
  JSON.stringify({
    bos_token: { content: '<|startoftext|>', normalized: true },
    eos_token: { content: '<|endoftext|>', normalized: true },
    ...extra,
  });
const make = (config: object = { model_max_length: 8 }, extra: object = {}): ClipTokenizer =>
  ClipTokenizer.fromFiles({
    vocab: { name: 'vocab.json', text: JSON.stringify(vocab) },
    merges: { name: 'merges.txt', text: merges },
    config: { name: 'tokenizer_config.json', text: JSON.stringify(config) },
    specialTokens: { name: 'special_tokens_map.json', text: special(extra) },
  });

test('words, digits and case', () => {
  expect(make().encodeFull('A  CAT\n11!')).toEqual([11, 4, 7, 10, 10, 9, 12]);
});

test('an empty text is begin and end, padded with the end token', () => {
  const { ids, attentionMask: mask, truncated } = make().encode('');
  expect(ids).toEqual([11, 12, 12, 12, 12, 12, 12, 12]);
  expect(mask).toEqual([1, 1, 0, 0, 0, 0, 0, 0]);
  expect(truncated).toBeUndefined();
});

test('the pad token comes from the files', () => {
  expect(make({ model_max_length: 5 }, { pad_token: '!' }).encode('cat').ids).toEqual([11, 7, 12, 0, 0]);
});

test('truncation keeps the end token and says what was lost', () => {
  const { ids, attentionMask: mask, truncated } = make({ model_max_length: 4 }).encode('cat a cat at');
  expect(ids).toEqual([11, 7, 4, 12]);
  expect(mask).toEqual([1, 1, 1, 1]);
  expect(truncated).toBe('cat at');
});

test('special tokens inside a text are found after lower-casing', () => {
  expect(make().encodeFull('<|STARTOFTEXT|> a')).toEqual([11, 11, 4, 12]);
});

test('a capital sigma at the end of a word is lower-cased like any other', () => {
  expect(make().encodeFull('Σ')).toEqual(make().encodeFull('σ'));
});

test.each([
  [{ vocab: '{' }, /vocab\.json:1:2: expected a key/],
  [{ vocab: '{"a": -1}' }, 'vocab.json: token "a" must have an integer id >= 0, found -1'],
  [{ vocab: '{"a": 1, "b": 1}' }, 'vocab.json: tokens "a" and "b" share id 1'],
  [{ vocab: '{}' }, 'vocab.json: holds no tokens'],
  [{ vocab: '{"a": 1}' }, 'bos_token is "<|startoftext|>", which vocab.json does not hold'],
  [
    { merges: '#version: 0.2\na t</w>\nc  at</w>\n' },
    'merges.txt:3: a merge is two tokens with one space between, found "c  at</w>"',
  ],
  [{ merges: '#version: 0.2\n' }, 'merges.txt: holds no merges'],
] as const)('bad files are refused: %j', (bad: { vocab?: string; merges?: string }, message) => {
  const files = {
    vocab: { name: 'vocab.json', text: bad.vocab ?? JSON.stringify(vocab) },
    merges: { name: 'merges.txt', text: bad.merges ?? merges },
  };
  expect(() => ClipTokenizer.fromFiles(files)).toThrow(message);
});

test('bad configs are refused', () => {
  expect(() => make({ model_max_length: 1 })).toThrow(
    'tokenizer_config.json: model_max_length must be an integer >= 2, found 1',
  );
  expect(() => make({}, { pad_token: 3 })).toThrow(
    'special_tokens_map.json: pad_token must be a token, found 3',
  );
  expect(make({ model_max_length: 1e30 }).maxLength).toBe(77);
});

test('loads from a checkpoint; a missing file is named', async () => {
  const files = memoryFiles(
    { 'tokenizer/vocab.json': JSON.stringify(vocab), 'tokenizer/merges.txt': merges },
    'model',
  );
  expect((await clipTokenizerFromFiles(files)).encodeFull('cat')).toEqual([11, 7, 12]);
  await expect(
    clipTokenizerFromFiles(memoryFiles({ 'tokenizer/vocab.json': '{}' }, 'model')),
  ).rejects.toThrow("model: has no 'tokenizer/merges.txt', nor 'tokenizer/tokenizer.json'");
});
