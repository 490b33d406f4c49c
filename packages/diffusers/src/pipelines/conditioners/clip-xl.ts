// Prompts → SDXL's conditions: hidden states of both encoders side by side, the second's pooled embedding, and sizes.
// Reference: diffusers' StableDiffusionXLPipeline.encode_prompt.

import { ArgumentError, concat, scope, tensor, zeros } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { TextModelOutput } from '../../models/clip-text.ts';
import type { CheckedCall } from '../check-call.ts';
import type { Conditioner, NamedTensors } from '../recipe.ts';
import { batchEmbeddings, blanks, encodeOpByOp, guidanceCondition } from './batch.ts';
import type { Target } from './batch.ts';
import type { EncodeTexts, TextEncoding } from './encode-texts.ts';

interface Embedded {
  /** [prompts, tokens, features of both] */
  readonly states: Tensor;
  /** [prompts, projection_dim] of the last encoder. */
  readonly pooled: Tensor;
}

/** The inputs of SDXL's conditions beside the texts. */
export interface XLConditions {
  readonly positive: MicroConditions;
  readonly negative: MicroConditions;
  /** True: without a negative prompt, the unconditional half is zeros instead of the embedding of ''. */
  readonly zeroNegative: boolean;
}

/**
 * A conditioner that makes `promptEmbeds` [images or 2·images, tokens, features of both encoders], `addTextEmbeds`
 * [.., projection_dim] and `addTimeIds` [.., 6]. Given promptEmbeds, pooledPromptEmbeds and negative ones replace
 * texts.
 */
export function clipXLConditioner(
  encoders: readonly TextEncoding[],
  target: Target,
  conditions: XLConditions,
): Conditioner {
  return {
    embed: (call, given, run = encodeOpByOp) =>
      scope(() => {
        const encode: Encode = (texts, clipSkip) => encodeAll(run, encoders, target, texts, clipSkip);
        const positive =
          givenPair(given, 'promptEmbeds', 'pooledPromptEmbeds') ??
          encode(
            call.texts.map((t) => t.prompts!),
            call.clipSkip ?? 0,
          );
        const negative = call.guided
          ? negatives(encode, target, call, given, { conditions, positive })
          : undefined;
        const batch = (of: keyof Embedded): Tensor =>
          batchEmbeddings(call, negative?.[of], positive[of], target.dtype);
        return {
          promptEmbeds: batch('states'),
          addTextEmbeds: batch('pooled'),
          addTimeIds: timeIds(call, conditions, target),
          ...guidanceCondition(call, target),
        };
      }),
  };
}

function givenPair(given: NamedTensors, states: string, pooled: string): Embedded | undefined {
  return given[states] && { states: given[states], pooled: given[pooled]! };
}

type Encode = (texts: readonly (readonly string[])[], clipSkip: number) => Embedded;

function negatives(
  encode: Encode,
  target: Target,
  call: CheckedCall,
  given: NamedTensors,
  { conditions, positive }: { readonly conditions: XLConditions; readonly positive: Embedded },
): Embedded {
  const pair = givenPair(given, 'negativePromptEmbeds', 'negativePooledPromptEmbeds');
  if (pair) return pair;
  if (conditions.zeroNegative && call.texts[0]!.negatives === undefined) {
    const zero = (t: Tensor): Tensor => zeros(t.shape, target);
    return { states: zero(positive.states), pooled: zero(positive.pooled) };
  }
  const blank = blanks(call);
  return encode(
    call.texts.map((t) => t.negatives ?? blank),
    0,
  );
}

/** Calls every encoder; `texts` by encoder. */
function encodeAll(
  run: EncodeTexts,
  encoders: readonly TextEncoding[],
  { dtype }: Target,
  texts: readonly (readonly string[])[],
  clipSkip: number,
): Embedded {
  const outs = encoders.map((encoding, index) => {
    const pools = index === encoders.length - 1;
    // SDXL counts from the layer before the last, without the final norm.
    const of = ({ hiddenStates, textEmbeds }: TextModelOutput): NamedTensors => ({
      states: stateBefore(hiddenStates, clipSkip),
      ...(pools && { pooled: textEmbeds! }),
    });
    const pick = { key: `${clipSkip} ${pools}`, of };
    return run({ encoding, index, texts: texts[index]!, options: { dtype }, pick });
  });
  const states = concat(
    outs.map((out) => out['states']!),
    2,
  );
  return { states, pooled: outs.at(-1)!['pooled']! };
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

/** SDXL's size conditions in pixels: original size, crop, target size. */
export interface MicroConditions {
  readonly originalSize: Pair;
  readonly cropsCoordsTopLeft: Pair;
  readonly targetSize: Pair;
}

/**
 * [images or 2·images, 6] in float32, as sizes above 2048 are not exact in float16. Under guidance, rows alternate
 * negative, positive, although the other conditions have their negative half first. For one image the orders are equal;
 * for several, this reproduces diffusers' pictures, where negative sizes meet rows of the positive half.
 */
function timeIds(call: CheckedCall, { positive, negative }: XLConditions, { device }: Target): Tensor {
  const row = (m: MicroConditions): number[] => [...m.originalSize, ...m.cropsCoordsTopLeft, ...m.targetSize];
  const rows = call.guided ? [...row(negative), ...row(positive)] : row(positive);
  const values = Array.from({ length: call.images }, () => rows).flat();
  return tensor(values, { shape: [values.length / 6, 6], device, dtype: 'float32' });
}
