// The interfaces of models in pipelines: any object with these members fits, also a traced model or a user's own.

import type { Device, DType, Tensor, ToOptions } from '@darkroom/core';
import type { AttentionProcessor } from './attention-processor.ts';
import type { AttentionStrategy } from './attention-strategies.ts';
import type { VaeDistribution } from './autoencoder-kl.ts';
import type { TextModelOutput } from './clip-text.ts';
import type { Conditioning } from './conditioning.ts';
import type { ConfigRecord } from './config.ts';
import type { AttentionSlice } from './model-with-attention.ts';
import type { TilingOptions } from './vae-tiling.ts';
import type { UNetOutput } from './unet2d-condition.ts';

/** A component with weights. */
export interface ModelLike {
  /** The content of config.json. Pipelines read it only through unetConfig() and vaeConfig(). */
  readonly config: ConfigRecord;
  readonly device: Device | undefined;
  readonly dtype: DType;
  /** Every weight that a call reads, by name, adapters included; a trace refers to these. Default: stateDict(). */
  parameters?(): ReadonlyMap<string, Tensor>;
  /** Weights by name, as a checkpoint has them. */
  stateDict?(): ReadonlyMap<string, Tensor>;
  to(options: ToOptions): Promise<unknown>;
  dispose(): void;
}

/** Attention settings, for models with attention layers. */
export interface AttentionPolicies {
  readonly attnProcessors?: Readonly<Record<string, AttentionProcessor | AttentionStrategy>>;
  readonly attnStrategies?: Readonly<Record<string, AttentionStrategy>>;
  setAttentionSlice?(slice: AttentionSlice | undefined): void;
  setBaseAttention?(base: AttentionStrategy): void;
}

/**
 * A UNet as pipelines use it: of this library, traced, or a user's own. `config` must give the fields of UNetConfig.
 */
export interface UNetLike extends ModelLike, AttentionPolicies {
  /** sample [n, inChannels, h, w] at a timestep → the prediction [n, outChannels, h, w]. */
  call(sample: Tensor, timestep: number, conditioning: Conditioning): UNetOutput;
}

/** Memory switches of a VAE, each optional. */
export interface VaePolicies {
  enableSlicing?(): void;
  disableSlicing?(): void;
  enableTiling?(options?: TilingOptions): void;
  disableTiling?(): void;
}

/** A VAE as pipelines use it. `config` must give the fields of VaeConfig. */
export interface VaeLike extends ModelLike, AttentionPolicies, VaePolicies {
  /** Channels by level, from the pixels down: each level but the last halves height and width. */
  readonly blockOutChannels: readonly number[];
  /** Factor from the VAE's latents to the denoiser's. */
  readonly scalingFactor: number;
  /** image [n, 3, h, w] in [-1, 1] → the distribution of latents (not scaled). */
  encode(image: Tensor): VaeDistribution;
  /** latents [n, c, h, w] (divided by the scaling factor) → [n, 3, h·scale, w·scale], not clamped. */
  decode(z: Tensor): Tensor;
  /** True: a batch is decoded one picture at a time. */
  readonly slicing?: boolean;
}

/** A text encoder as pipelines use it. */
export interface TextEncoderLike extends ModelLike {
  call(ids: readonly (readonly number[])[], options?: { dtype?: DType; clipSkip?: number }): TextModelOutput;
}
