// Prompts → text embeddings [2·images or images, tokens, features]: negative half first, repeated for each image.

import { cast, concat, keep, log, scope, toAsync } from '@darkroom/core';
import type { DType, Tensor } from '@darkroom/core';
import type { CheckedCall } from './check-call.ts';
import type { StableDiffusionOptions, StableDiffusionPipeline } from './stable-diffusion.ts';

export interface PromptEmbeddings {
  /** The caller owns it. */
  readonly embeds: Tensor;
}

/** Rows 0, 0, …, 1, 1, …: each of [n, l, d] `times` times. */
function repeatRows(x: Tensor, times: number): Tensor {
  const [n, l, d] = x.shape as [number, number, number];
  if (times === 1) return x;
  return concat(
    Array.from({ length: times }, () => x.view([n, 1, l, d])),
    1,
  ).view([n * times, l, d]);
}

export async function encodePrompts(
  pipe: StableDiffusionPipeline,
  call: CheckedCall,
  options: StableDiffusionOptions,
): Promise<PromptEmbeddings> {
  const dtype = pipe.computeDtype;
  const given = async (t: Tensor | undefined): Promise<Tensor | undefined> =>
    t && toAsync(t, { device: pipe.device, dtype });
  const [positive, negative] = [await given(options.promptEmbeds), await given(options.negativePromptEmbeds)];
  try {
    const embeds = embedPrompts(pipe, call, positive, negative, options.clipSkip);
    return { embeds: keep(embeds) };
  } finally {
    positive?.dispose();
    negative?.dispose();
  }
}

/** The whole batch; given embeddings are [prompts, tokens, features] on the pipeline's device. */
export function embedPrompts(
  pipe: StableDiffusionPipeline,
  call: CheckedCall,
  positive: Tensor | undefined,
  negative: Tensor | undefined,
  clipSkip: number | undefined,
): Tensor {
  const dtype = pipe.computeDtype;
  return scope(() => {
    const text = positive ?? encode(pipe, call.prompts!, dtype, clipSkip);
    if (!call.guided) return cast(repeatRows(text, call.imagesPerPrompt), dtype);
    const uncond = negative ?? encode(pipe, call.negativePrompts, dtype, undefined);
    return concat([repeatRows(uncond, call.imagesPerPrompt), repeatRows(text, call.imagesPerPrompt)], 0);
  });
}

/** [prompts, tokens, features]. clipSkip takes an earlier hidden state, then the final norm (positive prompt only). */
function encode(
  pipe: StableDiffusionPipeline,
  prompts: readonly string[],
  dtype: DType,
  clipSkip: number | undefined,
): Tensor {
  const ids = prompts.map((prompt) => {
    const encoded = pipe.tokenizer.encode(prompt);
    if (encoded.truncated !== undefined) {
      log.warn(
        `prompt is longer than ${pipe.tokenizer.maxLength} tokens; this part is ignored: "${encoded.truncated}"`,
      );
    }
    return encoded.ids;
  });
  const out = pipe.textEncoder.call(ids, { dtype, ...(clipSkip !== undefined && { clipSkip }) });
  return out.lastHiddenState;
}
