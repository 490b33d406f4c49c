// Reads tokenizer.json, in which transformers saves vocabulary, merges and added tokens. Its other parts (normalizer,
// splitter) are the same for every CLIP tokenizer and are written in clip-config.ts.

import { FormatError } from '@darkroom/core';
import { describeJson, isJsonObject, parseJsonObject } from '../loading/json.ts';
import type { JsonObject, JsonValue } from '../loading/json.ts';

/** A file's text, and its name for messages. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** A token that is found in a text before anything is split. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

export interface TokenizerJson {
  /** Token → id, in the form of vocab.json. */
  readonly vocab: JsonObject;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly AddedToken[];
}

/** @throws FormatError naming the file and the key for anything but a CLIP tokenizer. */
export function readTokenizerJson({ name, text }: NamedText): TokenizerJson {
  const json = parseJsonObject(text, name);
  const fail = (key: string, rule: string, value: unknown): never => {
    throw new FormatError(`${name}: ${key} must be ${rule}, found ${describeJson(value)}`);
  };
  const { model, added_tokens: added = [] } = json;
  if (!isJsonObject(model)) return fail('model', 'an object', model);
  if (model['type'] !== undefined && model['type'] !== 'BPE') fail('model.type', '"BPE"', model['type']);
  const suffix = model['end_of_word_suffix'];
  if (suffix !== '</w>') fail('model.end_of_word_suffix', '"</w>", as in CLIP', suffix);
  const { vocab, merges } = model;
  if (!isJsonObject(vocab)) return fail('model.vocab', 'an object', vocab);
  if (!Array.isArray(merges)) return fail('model.merges', 'a list', merges);
  if (!Array.isArray(added)) return fail('added_tokens', 'a list', added);
  return {
    vocab,
    merges: (merges as JsonValue[]).map(
      (merge, i) =>
        pairOf(merge) ?? fail(`model.merges[${i}]`, 'two tokens, as a list or with one space between', merge),
    ),
    added: (added as JsonValue[]).map((token, i) => addedToken(token, `${name}: added_tokens[${i}]`)),
  };
}

/** A merge is a list of two, or, in older files, a string with a space. */
function pairOf(merge: JsonValue): readonly [string, string] | undefined {
  const parts: readonly unknown[] =
    typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
  const ok = parts.length === 2 && parts.every((part) => typeof part === 'string' && part !== '');
  return ok ? (parts as readonly [string, string]) : undefined;
}

/** `where` names the token; `id` is that of files that hold it as the key. */
export function addedToken(token: JsonValue | undefined, where: string, id?: unknown): AddedToken {
  const details: JsonObject = isJsonObject(token) ? token : {};
  const content = isJsonObject(token) ? token['content'] : token;
  const number = id ?? details['id'];
  if (typeof content !== 'string' || content === '')
    throw new FormatError(`${where}: content must be a token, found ${describeJson(content)}`);
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0)
    throw new FormatError(`${where}: id must be an integer >= 0, found ${describeJson(number)}`);
  const flag = (key: string, fallback: boolean): boolean => {
    const value = details[key] ?? fallback;
    if (typeof value !== 'boolean')
      throw new FormatError(`${where}: ${key} must be true or false, found ${describeJson(value)}`);
    return value;
  };
  return {
    id: number,
    content,
    special: flag('special', false),
    normalized: flag('normalized', true),
    single_word: flag('single_word', false),
    lstrip: flag('lstrip', false),
    rstrip: flag('rstrip', false),
  };
}
