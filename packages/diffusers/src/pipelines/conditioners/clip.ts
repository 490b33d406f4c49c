// Prompts → SD 1.x and 2.x's condition: the last hidden state of one CLIP text encoder.

import { scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { Conditioner } from '../recipe.ts';
import { batchEmbeddings, batchOfBoth, blanks, encodeOpByOp, guidanceCondition } from './batch.ts';
import type { Target } from './batch.ts';
import type { TextEncoding, TextPick } from './encode-texts.ts';

/** The selected hidden state, after the final norm. */
const lastState: TextPick = { key: 'last', of: (out) => ({ states: out.lastHiddenState }) };

/**
 * A conditioner that makes `promptEmbeds` [images or 2·images, tokens, features] from the call's texts, or from given
 * promptEmbeds and negativePromptEmbeds [prompts, tokens, features].
 */
export function clipConditioner(encoding: TextEncoding, target: Target): Conditioner {
  const { dtype } = target;
  return {
    embed: (call, given, run = encodeOpByOp) =>
      scope(() => {
        const { prompts, negatives = blanks(call) } = call.texts[0]!;
        // clipSkip selects an earlier hidden state before the final norm, for the positive prompt only.
        const encode = (texts: readonly string[], clipSkip: number | undefined): Tensor => {
          const options = { dtype, ...(clipSkip !== undefined && { clipSkip }) };
          return run({ encoding, index: 0, texts, options, pick: lastState })['states']!;
        };
        const embeddings = (): Tensor => {
          const { promptEmbeds, negativePromptEmbeds } = given;
          // One call of the encoder where both are texts: half the launches, and weights are read once.
          if (call.guided && !promptEmbeds && !negativePromptEmbeds && call.clipSkip === undefined)
            return batchOfBoth(call, encode([...negatives, ...prompts!], undefined), dtype);
          const positive = promptEmbeds ?? encode(prompts!, call.clipSkip);
          const negative = call.guided ? (negativePromptEmbeds ?? encode(negatives, undefined)) : undefined;
          return batchEmbeddings(call, negative, positive, dtype);
        };
        return { promptEmbeds: embeddings(), ...guidanceCondition(call, target) };
      }),
  };
}
