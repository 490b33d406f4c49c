// How a conditioner has texts encoded: by calling the encoder, or by a trace of it.

import type { Tensor } from '@darkroom/core';
import type { TextModelOptions, TextModelOutput } from '../../models/clip-text.ts';
import type { TextEncoderLike } from '../../models/types.ts';
import type { ClipTokenizer } from '../../tokenizers/clip.ts';

/** A text encoder with its tokenizer. */
export interface TextEncoding {
  readonly tokenizer: ClipTokenizer;
  readonly encoder: TextEncoderLike;
}

/** One call of a text encoder. */
export interface TextWork {
  readonly encoding: TextEncoding;
  /** Index of the encoder among those of the pipeline. */
  readonly index: number;
  readonly texts: readonly string[];
  readonly options: TextModelOptions;
  readonly pick: TextPick;
}

/** What is kept of an encoder's output. */
export interface TextPick {
  /** Equal for equal functions. */
  readonly key: string;
  of(out: TextModelOutput): Readonly<Record<string, Tensor>>;
}

/** Runs an encoder on texts: a row of the results for each. */
export type EncodeTexts = (work: TextWork) => Readonly<Record<string, Tensor>>;
