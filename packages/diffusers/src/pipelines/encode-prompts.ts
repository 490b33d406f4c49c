// Prompts → text embeddings [2·images or images, tokens, features]: negative half first, repeated for each image.

import { cast, concat, log, scope } from '@darkroom/core';
import type { DType, Tensor } from '@darkroom/core';
import type { TextEncoderLike } from '../models/types.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import type { CheckedCall } from './check-call.ts';
import type { Pipeline } from './pipeline.ts';

/** Rows 0, 0, …, 1, 1, …: each of [n, …] `times` times. */
export function repeatEach(x: Tensor, times: number): Tensor {
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

/** The whole batch; given embeddings are [prompts, tokens, features] on the pipeline's device. */
export function embedPrompts(
  pipe: Pipeline,
  call: CheckedCall,
  given: { readonly promptEmbeds?: Tensor; readonly negativePromptEmbeds?: Tensor },
): Tensor {
  const { computeDtype: dtype, tokenizer, textEncoder } = pipe;
  const texts = call.texts[0]!;
  // clipSkip takes an earlier hidden state, then the final norm; of the positive prompt only.
  const encode = (prompts: readonly string[], clipSkip: number | undefined): Tensor =>
    textEncoder.call(tokenIds(tokenizer, prompts), { dtype, ...(clipSkip !== undefined && { clipSkip }) })
      .lastHiddenState;
  return scope(() => {
    const positive = given.promptEmbeds ?? encode(texts.prompts!, call.clipSkip);
    const blank = Array.from({ length: call.count }, () => '');
    const negative = call.guided
      ? (given.negativePromptEmbeds ?? encode(texts.negatives ?? blank, undefined))
      : undefined;
    return batchEmbeddings(call, negative, positive, dtype);
  });
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
