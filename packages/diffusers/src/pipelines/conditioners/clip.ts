// Prompts → SD 1.x and 2.x's condition: the last hidden state of one CLIP text encoder.

import { scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { Conditioner } from '../recipe.ts';
import { batchEmbeddings, blanks, guidanceCondition, tokenIds } from './batch.ts';
import type { Target, TextEncoding } from './batch.ts';

/**
 * A conditioner that makes `promptEmbeds` [images or 2·images, tokens, features] from the call's texts, or from given
 * promptEmbeds and negativePromptEmbeds [prompts, tokens, features].
 */
export function clipConditioner({ tokenizer, encoder }: TextEncoding, target: Target): Conditioner {
  const { dtype } = target;
  // clipSkip selects an earlier hidden state before the final norm, for the positive prompt only.
  const encode = (prompts: readonly string[], clipSkip: number | undefined): Tensor =>
    encoder.call(tokenIds(tokenizer, prompts), { dtype, ...(clipSkip !== undefined && { clipSkip }) })
      .lastHiddenState;
  return {
    embed: (call, given) =>
      scope(() => {
        const texts = call.texts[0]!;
        const positive = given['promptEmbeds'] ?? encode(texts.prompts!, call.clipSkip);
        const negative = call.guided
          ? (given['negativePromptEmbeds'] ?? encode(texts.negatives ?? blanks(call), undefined))
          : undefined;
        return {
          promptEmbeds: batchEmbeddings(call, negative, positive, dtype),
          ...guidanceCondition(call, target),
        };
      }),
  };
}
