// The conditioning: the inputs of a denoiser beside latents and timestep, passed from the pipeline to each attention
// layer.

import type { Tensor } from '@darkroom/core';

/** SDXL's added conditions. */
export interface AddedCond {
  /** Pooled text embeddings [n, d]. */
  readonly textEmbeds: Tensor;
  /** Sizes and crops in pixels [n, 6]. */
  readonly timeIds: Tensor;
}

/** The inputs of a denoiser beside latents and timestep. Blocks and attention layers receive the same object. */
export interface Conditioning {
  /** Text hidden states [n, tokens, width], the input of cross-attention. */
  readonly encoderHiddenStates: Tensor;
  /** For models with `addition_embed_type` text_time (SDXL). */
  readonly addedCond?: AddedCond;
  /** Guidance embedding [n, time_cond_proj_dim] of distilled models (LCM). */
  readonly timestepCond?: Tensor;
  /** Class ids, one an image, or [n, d] for projections. */
  readonly classLabels?: readonly number[] | Tensor;
  /** Inputs of adapters by name; read and written through a ConditioningKey. */
  readonly adapters?: Readonly<Record<string, AdapterInput>>;
}

/** An adapter's input: tensors and plain values, alone or in lists and records, which a trace can take as inputs. */
export type AdapterInput =
  | Tensor
  | number
  | boolean
  | string
  | readonly AdapterInput[]
  | { readonly [name: string]: AdapterInput | undefined };

/** The typed key of one adapter's input in a conditioning: IP-Adapter's image embeddings, a mask. */
export class ConditioningKey<T extends AdapterInput> {
  readonly name: string;

  /** `name` must be unique among the adapters of a model; it also names the inputs of a trace. */
  constructor(name: string) {
    this.name = name;
  }

  /** The adapter's input; undefined if there is none. */
  of(conditioning: Conditioning | undefined): T | undefined {
    const { adapters = {} } = conditioning ?? {};
    return Object.hasOwn(adapters, this.name) ? (adapters[this.name] as T) : undefined;
  }

  /** A copy of `conditioning` with this adapter's input. */
  with(conditioning: Conditioning, input: T): Conditioning {
    return { ...conditioning, adapters: { ...conditioning.adapters, [this.name]: input } };
  }
}
