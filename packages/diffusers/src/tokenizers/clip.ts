// CLIP's tokenizer: text → token ids of fixed length; reports the text that it cuts off.
// The algorithm is that of @huggingface/tokenizers; here are padding, truncation and loading.
// Reference: transformers' fast CLIPTokenizer, whose ids are reproduced exactly.

import { Tokenizer } from '@huggingface/tokenizers';
import { ArgumentError, FormatError } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import { readBounded } from '../loading/json.ts';
import { readClipConfig } from './clip-config.ts';
import type { ClipTokenizerConfig, ClipTokenizerFiles } from './clip-config.ts';
import type { NamedText } from './tokenizer-json.ts';

export interface ClipEncoding {
  /** maxLength ids: begin, text, end, then padding. */
  readonly ids: readonly number[];
  /** 1 for begin, text and the first end, 0 for padding. */
  readonly attentionMask: readonly number[];
  /** The cut-off end of the text, for a warning; undefined if the whole text fits. */
  readonly truncated: string | undefined;
}

/** CLIP's tokenizer. Reference: transformers' fast CLIPTokenizer, whose ids are reproduced exactly. */
export class ClipTokenizer {
  /** Length of every encoding. */
  readonly maxLength: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly padId: number;
  /**
   * The files that savePretrained writes, by name: those that the tokenizer was made from; and for tokenizer.json also
   * vocab.json and merges.txt, for older readers.
   */
  readonly files: Readonly<Record<string, string>>;
  readonly #tokenizer: Tokenizer;

  constructor(config: ClipTokenizerConfig, files: Readonly<Record<string, string>> = {}) {
    this.files = files;
    this.maxLength = config.maxLength;
    this.bosId = config.bos.id;
    this.eosId = config.eos.id;
    this.padId = config.pad.id;
    this.#tokenizer = new Tokenizer(config.tokenizerJson, {});
  }

  /** A tokenizer from the contents of its files. @throws FormatError naming file, line or key */
  static fromFiles(files: ClipTokenizerFiles): ClipTokenizer {
    const config = readClipConfig(files);
    const texts = {
      'vocab.json': files.vocab?.text ?? config.vocabText,
      'merges.txt': files.merges?.text ?? config.mergesText,
      'tokenizer.json': files.tokenizer?.text,
      'added_tokens.json': files.addedTokens?.text ?? config.addedText,
      'tokenizer_config.json': files.config?.text,
      'special_tokens_map.json': files.specialTokens?.text,
    };
    const present = Object.entries(texts).filter(([, text]) => text !== undefined) as [string, string][];
    return new ClipTokenizer(config, Object.fromEntries(present));
  }

  /** All ids of a text with begin and end, of any length. */
  encodeFull(text: string): number[] {
    if (typeof text !== 'string')
      throw new ArgumentError(`tokenizer: text must be a string, got ${typeof text}`);
    return this.#tokenizer.encode(text).ids;
  }

  /** Ids padded on the right to maxLength; a longer text loses its end but keeps the end token in the last place. */
  encode(text: string): ClipEncoding {
    const all = this.encodeFull(text);
    const fits = all.length <= this.maxLength;
    const ids = fits ? all : [...all.slice(0, this.maxLength - 1), this.eosId];
    const padding = this.maxLength - ids.length;
    return {
      ids: [...ids, ...new Array<number>(padding).fill(this.padId)],
      attentionMask: [...new Array<number>(ids.length).fill(1), ...new Array<number>(padding).fill(0)],
      truncated: fits ? undefined : this.decode(all.slice(this.maxLength - 1, -1)),
    };
  }

  /** The text of ids, special tokens left out. Case and exact spacing were lost in encoding. */
  decode(ids: readonly number[]): string {
    return ids.length === 0
      ? ''
      : this.#tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }
}

/**
 * Loads a tokenizer from `folder` of a checkpoint: vocab.json and merges.txt, or tokenizer.json alone. Other JSON files
 * are optional. @throws FormatError naming the missing or damaged file
 */
export async function clipTokenizerFromFiles(
  files: ModelFiles,
  folder = 'tokenizer',
): Promise<ClipTokenizer> {
  const prefix = folder === '' ? '' : `${folder}/`;
  const where = `${files.describe()}/${prefix}`;
  const optional = async (file: string): Promise<NamedText | undefined> =>
    (await files.exists(`${prefix}${file}`))
      ? { name: `${where}${file}`, text: await readBounded(files, `${prefix}${file}`) }
      : undefined;
  const [vocab, merges] = [await optional('vocab.json'), await optional('merges.txt')];
  const tokenizer = vocab && merges ? undefined : await optional('tokenizer.json');
  if (!tokenizer && !(vocab && merges)) {
    const missing = [!vocab && 'vocab.json', !merges && 'merges.txt'].filter((name) => name !== false);
    const quoted = missing.map((name) => `'${prefix}${name}'`).join(' and ');
    throw new FormatError(`${files.describe()}: has no ${quoted}, nor '${prefix}tokenizer.json'`);
  }
  return ClipTokenizer.fromFiles({
    vocab,
    merges,
    tokenizer,
    addedTokens: await optional('added_tokens.json'),
    config: await optional('tokenizer_config.json'),
    specialTokens: await optional('special_tokens_map.json'),
  });
}
