// The four files of a CLIP tokenizer → the description that @huggingface/tokenizers runs.
// Not here: encoding. CLIP's rules: NFC, whitespace runs to one space, lower case, a split into words, single
// digits and runs of punctuation, then byte-level BPE whose last piece of a word ends in '</w>'.
// Reference: the tokenizer.json that transformers derives from the same files.

import { FormatError } from '@darkroom/core';
import { describeJson, isJsonObject, parseJsonObject } from '../loading/json.ts';
import type { JsonObject, JsonValue } from '../loading/json.ts';

/** A file's text, and its name for messages. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

export interface ClipTokenizerFiles {
  /** vocab.json: token → id. */
  readonly vocab: NamedText;
  /** merges.txt: a version line, then one merge of two tokens a line. */
  readonly merges: NamedText;
  /** tokenizer_config.json: model_max_length and special tokens. */
  readonly config?: NamedText | undefined;
  /** special_tokens_map.json: special tokens, over those of the config. */
  readonly specialTokens?: NamedText | undefined;
}

interface SpecialToken {
  readonly content: string;
  readonly id: number;
  readonly normalized: boolean;
}

export interface ClipTokenizerConfig {
  readonly tokenizerJson: object;
  readonly bos: SpecialToken;
  readonly eos: SpecialToken;
  readonly pad: SpecialToken;
  readonly maxLength: number;
}

const words = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;

export function readClipConfig(files: ClipTokenizerFiles): ClipTokenizerConfig {
  const vocab = readVocab(files.vocab);
  const merges = readMerges(files.merges);
  const config = files.config ? parseJsonObject(files.config.text, files.config.name) : {};
  const map = files.specialTokens ? parseJsonObject(files.specialTokens.text, files.specialTokens.name) : {};
  const special = (key: string, fallback: string): SpecialToken => {
    const value = map[key] ?? config[key] ?? fallback;
    return specialToken(
      key,
      value,
      vocab,
      map[key] !== undefined ? files.specialTokens! : (files.config ?? files.vocab),
      files.vocab,
    );
  };
  const bos = special('bos_token', '<|startoftext|>');
  const eos = special('eos_token', '<|endoftext|>');
  const unk = special('unk_token', '<|endoftext|>');
  const pad = special('pad_token', '<|endoftext|>');
  const added = new Map([bos, eos, unk, pad].map((t) => [t.content, t]));
  const tokenizerJson = {
    version: '1.0',
    added_tokens: [...added.values()].map((t) => ({
      ...t,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
    })),
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
  return { tokenizerJson, bos, eos, pad, maxLength: maxLength(config, files.config) };
}

function readVocab({ name, text }: NamedText): Record<string, number> {
  const vocab = parseJsonObject(text, name);
  const seen = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) {
      throw new FormatError(
        `${name}: token ${JSON.stringify(token)} must have an integer id >= 0, found ${describeJson(id)}`,
      );
    }
    if (seen.has(id))
      throw new FormatError(
        `${name}: tokens ${JSON.stringify(seen.get(id))} and ${JSON.stringify(token)} share id ${id}`,
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

/** A special token is a string, or an object with `content`. */
function specialToken(
  key: string,
  value: JsonValue,
  vocab: Record<string, number>,
  from: NamedText,
  vocabFile: NamedText,
): SpecialToken {
  const details: JsonObject = isJsonObject(value) ? value : {};
  const content = isJsonObject(value) ? value['content'] : value;
  if (typeof content !== 'string' || content === '') {
    throw new FormatError(`${from.name}: ${key} must be a token, found ${describeJson(value)}`);
  }
  const id = Object.hasOwn(vocab, content) ? vocab[content] : undefined;
  if (id === undefined)
    throw new FormatError(
      `${from.name}: ${key} is ${JSON.stringify(content)}, which ${vocabFile.name} does not hold`,
    );
  return { content, id, normalized: details['normalized'] === true };
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
