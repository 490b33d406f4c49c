// What a denoiser reads beside latents and timestep, as one object that goes from the pipeline to each attention layer.

import type { Tensor } from '@darkroom/core';

/** SDXL's added conditions. */
export interface AddedCond {
  /** Pooled text embeddings [n, d]. */
  readonly textEmbeds: Tensor;
  /** Sizes and crops in pixels [n, 6]. */
  readonly timeIds: Tensor;
}

/** All that a denoiser reads beside latents and timestep. Blocks and attention layers get the same object. */
export interface Conditioning {
  /** Text hidden states [n, tokens, width]: what cross-attention reads. */
  readonly encoderHiddenStates: Tensor;
  /** For models with `addition_embed_type` text_time (SDXL). */
  readonly addedCond?: AddedCond;
  /** Guidance embedding [n, time_cond_proj_dim] of distilled models (LCM). */
  readonly timestepCond?: Tensor;
  /** Class ids, one an image, or [n, d] for projections. */
  readonly classLabels?: readonly number[] | Tensor;
  /** What adapters added, by their names; read and written through a ConditioningKey. */
  readonly adapters?: Readonly<Record<string, AdapterInput>>;
}

/** What an adapter may add: tensors, alone or in lists and records, so that a trace takes them as inputs. */
export type AdapterInput =
  | Tensor
  | number
  | boolean
  | string
  | readonly AdapterInput[]
  | { readonly [name: string]: AdapterInput | undefined };

/** Where one adapter keeps its inputs in a conditioning, with their type: IP-Adapter's image embeddings, a mask. */
export class ConditioningKey<T extends AdapterInput> {
  readonly name: string;

  /** `name` must be unique among the adapters of a model; it also names the inputs of a trace. */
  constructor(name: string) {
    this.name = name;
  }

  /** What the adapter added; undefined when it added nothing. */
  of(conditioning: Conditioning | undefined): T | undefined {
    const { adapters = {} } = conditioning ?? {};
    return Object.hasOwn(adapters, this.name) ? (adapters[this.name] as T) : undefined;
  }

  /** A conditioning like the given one, with this adapter's input. */
  with(conditioning: Conditioning, input: T): Conditioning {
    return { ...conditioning, adapters: { ...conditioning.adapters, [this.name]: input } };
  }
}
