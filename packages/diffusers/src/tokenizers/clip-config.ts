// The files of a CLIP tokenizer, of either layout → the description that @huggingface/tokenizers runs.
// CLIP's rules: NFC, whitespace runs to one space, lower case, a split into words, single
// digits and runs of punctuation, then byte-level BPE whose last piece of a word ends in '</w>'.
// Reference: the tokenizer.json that transformers derives from the same files.

import { FormatError, shortJson } from '@darkroom/core';
import { describeJson, isJsonObject, parseJsonObject } from '../loading/json.ts';
import type { JsonObject } from '../loading/json.ts';
import { addedToken, readTokenizerJson } from './tokenizer-json.ts';
import type { AddedToken, NamedText } from './tokenizer-json.ts';

/** The files of a tokenizer: vocab.json and merges.txt, or tokenizer.json, and optional others. */
export interface ClipTokenizerFiles {
  /** vocab.json: token → id. */
  readonly vocab?: NamedText | undefined;
  /** merges.txt: a version line, then one merge of two tokens a line. */
  readonly merges?: NamedText | undefined;
  /** tokenizer.json: vocabulary, merges and added tokens; read if vocab.json or merges.txt is missing. */
  readonly tokenizer?: NamedText | undefined;
  /** added_tokens.json: further token → id. */
  readonly addedTokens?: NamedText | undefined;
  /** tokenizer_config.json: model_max_length and special tokens. */
  readonly config?: NamedText | undefined;
  /** special_tokens_map.json: special tokens, over those of the config. */
  readonly specialTokens?: NamedText | undefined;
}

export interface ClipTokenizerConfig {
  readonly tokenizerJson: object;
  readonly bos: AddedToken;
  readonly eos: AddedToken;
  readonly pad: AddedToken;
  readonly maxLength: number;
  /** Vocabulary and merges as files of their own, which every reader takes. */
  readonly vocabText: string;
  readonly mergesText: string;
  /** Tokens beyond the vocabulary, likewise; undefined when there are none. */
  readonly addedText: string | undefined;
}

/** Vocabulary, merges and added tokens, and the file that they come from. */
interface Pieces {
  readonly vocab: Record<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly AddedToken[];
  /** The file with the vocabulary, for messages. */
  readonly from: NamedText;
}

const words = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;

/** Reads a tokenizer's files. @throws FormatError naming file, line or key. */
export function readClipConfig(files: ClipTokenizerFiles): ClipTokenizerConfig {
  const { vocab, merges, added: inFile, from } = readPieces(files);
  const config = files.config ? parseJsonObject(files.config.text, files.config.name) : {};
  const map = files.specialTokens ? parseJsonObject(files.specialTokens.text, files.specialTokens.name) : {};
  const known = new Map([...inFile, ...addedTokens(config, files)].map((token) => [token.content, token]));
  const special = (key: string, fallback: string): AddedToken => {
    const [inMap, inConfig] = [map[key] ?? undefined, config[key] ?? undefined];
    const where = inMap !== undefined ? files.specialTokens! : inConfig !== undefined ? files.config! : from;
    const value = inMap ?? inConfig ?? fallback;
    const content = isJsonObject(value) ? value['content'] : value;
    if (typeof content !== 'string' || content === '')
      throw new FormatError(`${where.name}: ${key} must be a token, found ${describeJson(value)}`);
    const id = Object.hasOwn(vocab, content) ? vocab[content] : known.get(content)?.id;
    if (id === undefined)
      throw new FormatError(
        `${where.name}: ${key} is ${describeJson(content)}, which ${from.name} does not hold`,
      );
    const details = isJsonObject(value) ? value : (known.get(content) ?? {});
    const plain = { single_word: false, lstrip: false, rstrip: false };
    return { ...plain, id, content, special: true, normalized: details['normalized'] === true };
  };
  const bos = special('bos_token', '<|startoftext|>');
  const eos = special('eos_token', '<|endoftext|>');
  const unk = special('unk_token', '<|endoftext|>');
  const pad = special('pad_token', '<|endoftext|>');
  for (const token of [bos, eos, unk, pad]) known.set(token.content, token);
  const tokenizerJson = {
    version: '1.0',
    added_tokens: [...known.values()],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        // JavaScript lower-cases a sigma at a word's end to its final form; the reference looks at single characters.
        { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: words }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      cls: [bos.content, bos.id],
      sep: [eos.content, eos.id],
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: {
      type: 'BPE',
      unk_token: unk.content,
      end_of_word_suffix: '</w>',
      continuing_subword_prefix: '',
      vocab,
      merges,
    },
  };
  const beyond = Object.fromEntries(
    [...known.values()].filter((t) => !Object.hasOwn(vocab, t.content)).map((t) => [t.content, t.id]),
  );
  return {
    tokenizerJson,
    bos,
    eos,
    pad,
    maxLength: maxLength(config, files.config),
    vocabText: JSON.stringify(vocab),
    addedText: Object.keys(beyond).length > 0 ? JSON.stringify(beyond) : undefined,
    mergesText: `#version: 0.2\n${merges.map(([a, b]) => `${a} ${b}\n`).join('')}`,
  };
}

function readPieces(files: ClipTokenizerFiles): Pieces {
  const { vocab, merges, tokenizer } = files;
  if (vocab && merges) {
    const read = checkVocab(parseJsonObject(vocab.text, vocab.name), vocab.name);
    return { vocab: read, merges: readMerges(merges), added: [], from: vocab };
  }
  if (!tokenizer)
    throw new FormatError('tokenizer: needs vocab.json and merges.txt, or tokenizer.json; found neither');
  const read = readTokenizerJson(tokenizer);
  return { ...read, vocab: checkVocab(read.vocab, tokenizer.name), from: tokenizer };
}

/** Tokens beyond the vocabulary, as the files of older readers hold them. */
function addedTokens(
  config: JsonObject,
  { config: file, addedTokens: more }: ClipTokenizerFiles,
): AddedToken[] {
  const decoder = config['added_tokens_decoder'] ?? {};
  if (!isJsonObject(decoder))
    throw new FormatError(
      `${file!.name}: added_tokens_decoder must be an object, found ${describeJson(decoder)}`,
    );
  const byId = Object.entries(decoder).map(([id, token]) =>
    addedToken(token, `${file!.name}: added_tokens_decoder[${describeJson(id)}]`, Number(id)),
  );
  const byContent = Object.entries(more ? parseJsonObject(more.text, more.name) : {}).map(([content, id]) =>
    addedToken(content, `${more!.name}: ${describeJson(content)}`, id),
  );
  return [...byContent, ...byId];
}

function checkVocab(vocab: JsonObject, name: string): Record<string, number> {
  const seen = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) {
      throw new FormatError(
        `${name}: token ${shortJson(token)} must have an integer id >= 0, found ${describeJson(id)}`,
      );
    }
    if (seen.has(id))
      throw new FormatError(
        `${name}: tokens ${shortJson(seen.get(id))} and ${shortJson(token)} share id ${id}`,
      );
    seen.set(id, token);
  }
  if (seen.size === 0) throw new FormatError(`${name}: holds no tokens`);
  return vocab as Record<string, number>;
}

function readMerges({ name, text }: NamedText): [string, string][] {
  const merges: [string, string][] = [];
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '');
    if (line === '' || (i === 0 && line.startsWith('#version'))) continue;
    const parts = line.split(' ');
    if (parts.length !== 2 || parts.includes('')) {
      throw new FormatError(
        `${name}:${i + 1}: a merge is two tokens with one space between, found ${describeJson(line)}`,
      );
    }
    merges.push(parts as [string, string]);
  }
  if (merges.length === 0) throw new FormatError(`${name}: holds no merges`);
  return merges;
}

function maxLength(config: JsonObject, file: NamedText | undefined): number {
  const value = config['model_max_length'] ?? 77;
  // transformers writes 1e30 for "no limit"; CLIP's position table ends at 77.
  if (typeof value === 'number' && value >= 1e6) return 77;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 2) {
    throw new FormatError(
      `${file!.name}: model_max_length must be an integer >= 2, found ${describeJson(value)}`,
    );
  }
  return value;
}
