// Prompts → SDXL's conditions: hidden states of both encoders side by side, the second's pooled embedding, and sizes.
// Reference: diffusers' StableDiffusionXLPipeline.encode_prompt.

import { ArgumentError, concat, scope, tensor, zeros } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { TextEncoderLike } from '../models/types.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import type { CheckedCall } from './check-call.ts';
import { batchEmbeddings, tokenIds } from './encode-prompts.ts';
import type { CallInputs } from './latent-diffusion.ts';
import type { Pipeline } from './pipeline.ts';

interface Embedded {
  /** [prompts, tokens, features of both] */
  readonly states: Tensor;
  /** [prompts, projection_dim] of the last encoder. */
  readonly pooled: Tensor;
}

export interface TextConditions {
  readonly promptEmbeds: Tensor;
  readonly addTextEmbeds: Tensor;
}

/** Tokenizer and encoder; one pair for each of the call's texts. */
export type Encoder = readonly [ClipTokenizer, TextEncoderLike];

/** `zeroNegative`: without a negative prompt the unconditional half is zeros rather than the embedding of ''. */
export function embedPromptsXL(
  pipe: Pipeline,
  encoders: readonly Encoder[],
  call: CheckedCall,
  given: CallInputs,
  zeroNegative: boolean,
): TextConditions {
  const { computeDtype: dtype, device } = pipe;
  const encode = (texts: readonly (readonly string[])[], clipSkip: number): Embedded => {
    const outs = encoders.map(([tokenizer, encoder], i) =>
      encoder.call(tokenIds(tokenizer, texts[i]!), { dtype }),
    );
    // SDXL counts from the layer before the last, without the final norm.
    const states = concat(
      outs.map(({ hiddenStates }) => stateBefore(hiddenStates, clipSkip)),
      2,
    );
    return { states, pooled: outs.at(-1)!.textEmbeds! };
  };
  const positives = (): Embedded =>
    given['promptEmbeds']
      ? { states: given['promptEmbeds'], pooled: given['pooledPromptEmbeds']! }
      : encode(
          call.texts.map((t) => t.prompts!),
          call.clipSkip ?? 0,
        );
  const negatives = (like: Embedded): Embedded => {
    if (given['negativePromptEmbeds'])
      return { states: given['negativePromptEmbeds'], pooled: given['negativePooledPromptEmbeds']! };
    if (zeroNegative && call.texts[0]!.negatives === undefined) {
      const zero = (t: Tensor): Tensor => zeros(t.shape, { device, dtype });
      return { states: zero(like.states), pooled: zero(like.pooled) };
    }
    const blank = Array.from({ length: call.count }, () => '');
    return encode(
      call.texts.map((t) => t.negatives ?? blank),
      0,
    );
  };
  return scope(() => {
    const positive = positives();
    const negative = call.guided ? negatives(positive) : undefined;
    return {
      promptEmbeds: batchEmbeddings(call, negative?.states, positive.states, dtype),
      addTextEmbeds: batchEmbeddings(call, negative?.pooled, positive.pooled, dtype),
    };
  });
}

function stateBefore(states: readonly Tensor[], clipSkip: number): Tensor {
  const state = states.at(-2 - clipSkip);
  if (!state)
    throw new ArgumentError(
      `clipSkip: must be at most ${states.length - 2} (the layers of this model but one), got ${clipSkip}`,
    );
  return state;
}

/** [height, width] in pixels, or [top, left]. */
export type Pair = readonly [number, number];

/** What SDXL is told of the picture it learnt from: original size, crop, target size. */
export interface MicroConditions {
  readonly originalSize: Pair;
  readonly cropsCoordsTopLeft: Pair;
  readonly targetSize: Pair;
}

/**
 * [images or 2·images, 6]. Under guidance rows alternate negative, positive, as diffusers lays them out, although the
 * other conditions have their negative half first: for one image that is the same; for several, sizes that differ
 * between the halves meet other rows than their names say, and seeds give diffusers' pictures only this way.
 * In float32: sizes above 2048 have no exact float16.
 */
export function timeIds(
  pipe: Pipeline,
  call: CheckedCall,
  positive: MicroConditions,
  negative: MicroConditions,
): Tensor {
  const row = (m: MicroConditions): number[] => [...m.originalSize, ...m.cropsCoordsTopLeft, ...m.targetSize];
  const rows = call.guided ? [...row(negative), ...row(positive)] : row(positive);
  const values = Array.from({ length: call.images }, () => rows).flat();
  return tensor(values, { shape: [values.length / 6, 6], device: pipe.device, dtype: 'float32' });
}
