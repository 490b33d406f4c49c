// Helpers of conditioners: texts to token ids, and rows of prompts to rows of the batch (negative half first).

import { cast, concat, log, tensor } from '@darkroom/core';
import type { Device, DType, Tensor } from '@darkroom/core';
import type { TextEncoderLike } from '../../models/types.ts';
import type { ClipTokenizer } from '../../tokenizers/clip.ts';
import type { CheckedCall } from '../check-call.ts';
import { guidanceEmbedding } from '../guidance.ts';
import type { EncodeTexts } from './encode-texts.ts';

/** Calls the encoder. */
export const encodeOpByOp: EncodeTexts = ({ encoding: { tokenizer, encoder }, texts, options, pick }) =>
  pick.of(encoder.call(tokenIds(tokenizer, texts), options));

/** Device and dtype of embeddings. */
export interface Target {
  readonly device: Device;
  readonly dtype: DType;
  /** Width of a distilled denoiser's guidance embedding (LCM); undefined for denoisers without one. */
  readonly guidanceSize?: number | undefined;
}

/** x [n, …] → [n · times, …], each row `times` times in turn: 0, 0, …, 1, 1, … */
function repeatEach(x: Tensor, times: number): Tensor {
  if (times === 1) return x;
  const [n, ...rest] = x.shape as [number, ...number[]];
  const rows = x.view([n, 1, ...rest]);
  return concat(
    Array.from({ length: times }, () => rows),
    1,
  ).view([n * times, ...rest]);
}

/** Embeddings of the batch from rows of negative and positive prompts: each row for each of its images. */
export function batchOfBoth(call: CheckedCall, rows: Tensor, dtype: DType): Tensor {
  return cast(repeatEach(rows, call.imagesPerPrompt), dtype);
}

/** Embeddings of the batch: each prompt's row for each of its images, the negative half first if there is one. */
export function batchEmbeddings(
  call: CheckedCall,
  negative: Tensor | undefined,
  positive: Tensor,
  dtype: DType,
): Tensor {
  const text = repeatEach(positive, call.imagesPerPrompt);
  if (!negative) return cast(text, dtype);
  return cast(concat([repeatEach(negative, call.imagesPerPrompt), text], 0), dtype);
}

/** Token ids of each prompt, maxLength each; warns of text that is cut off. */
export function tokenIds(
  tokenizer: ClipTokenizer,
  prompts: readonly string[],
): Parameters<TextEncoderLike['call']>[0] {
  return prompts.map((prompt) => {
    const encoded = tokenizer.encode(prompt);
    if (encoded.truncated !== undefined) {
      log.warn(
        `prompt is longer than ${tokenizer.maxLength} tokens; this part is ignored: "${encoded.truncated}"`,
      );
    }
    return encoded.ids;
  });
}

/** An empty text for each prompt of the call. */
export function blanks({ count }: CheckedCall): readonly string[] {
  return Array.from({ length: count }, () => '');
}

/** { timestepCond: [images, guidanceSize] } for denoisers with a guidance embedding; else {}. */
export function guidanceCondition(
  call: CheckedCall,
  { device, dtype, guidanceSize: size }: Target,
): { readonly timestepCond?: Tensor } {
  if (size === undefined) return {};
  const row = guidanceEmbedding(size, call.guidanceScale);
  const rows = Array.from({ length: call.images }, () => [...row]).flat();
  return { timestepCond: tensor(rows, { shape: [call.images, size], device, dtype }) };
}
