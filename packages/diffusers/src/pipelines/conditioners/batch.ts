// What conditioners share: texts to token ids, and rows of a prompt to rows of the batch (negative half first).

import { cast, concat, log, tensor } from '@darkroom/core';
import type { Device, DType, Tensor } from '@darkroom/core';
import type { TextEncoderLike } from '../../models/types.ts';
import type { ClipTokenizer } from '../../tokenizers/clip.ts';
import type { CheckedCall } from '../check-call.ts';
import { guidanceEmbedding } from '../guidance.ts';

/** A text encoder with its tokenizer; one for each of the call's texts. */
export interface TextEncoding {
  readonly tokenizer: ClipTokenizer;
  readonly encoder: TextEncoderLike;
}

/** Where and in which dtype embeddings are made. */
export interface Target {
  readonly device: Device;
  readonly dtype: DType;
  /** Width of the guidance embedding that a distilled denoiser reads (LCM); undefined: it reads none. */
  readonly guidanceSize?: number | undefined;
}

/** Rows 0, 0, …, 1, 1, …: each of [n, …] `times` times. */
function repeatEach(x: Tensor, times: number): Tensor {
  if (times === 1) return x;
  const [n, ...rest] = x.shape as [number, ...number[]];
  const rows = x.view([n, 1, ...rest]);
  return concat(
    Array.from({ length: times }, () => rows),
    1,
  ).view([n * times, ...rest]);
}

/** Both halves of a guided batch, or the conditional one alone; each row for every image of its prompt. */
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

/** Ids of each prompt; what did not fit is named in a warning. */
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

/** { timestepCond: [images, guidanceSize] } for denoisers that read the guidance scale; else nothing. */
export function guidanceCondition(
  call: CheckedCall,
  { device, dtype, guidanceSize: size }: Target,
): { readonly timestepCond?: Tensor } {
  if (size === undefined) return {};
  const row = guidanceEmbedding(size, call.guidanceScale);
  const rows = Array.from({ length: call.images }, () => [...row]).flat();
  return { timestepCond: tensor(rows, { shape: [call.images, size], device, dtype }) };
}
