// The memory switches of every pipeline. Their state is in the models, so pipelines that share a model share its
// switches.

import { ArgumentError, log } from '@darkroom/core';
import { fusedAttention, isSliced, plainAttention } from '../models/attention-strategies.ts';
import type { AttentionStrategy } from '../models/attention-strategies.ts';
import type { AttentionSlice } from '../models/model-with-attention.ts';
import type { AttentionPolicies, ModelLike, VaePolicies } from '../models/types.ts';
import type { TilingOptions } from '../models/vae-tiling.ts';
import type { SequentialOffloadOptions } from '../offload/sequential.ts';
import { Pipeline } from './pipeline.ts';

let warned = false;
/** Warns, once, that slicing fused attention saves no memory. */
export function warnIfSlicingIsUseless(denoisers: readonly AttentionPolicies[]): void {
  const strategies = denoisers.flatMap((d) => Object.values(d.attnStrategies ?? {}));
  const fused = strategies.every((s) => isSliced(s) && s.inner === fusedAttention);
  if (warned || !fused || strategies.length === 0) return;
  warned = true;
  log.warn(
    'enableAttentionSlicing: attention is memory efficient already and holds no score matrix, so slicing saves nothing',
  );
}

export abstract class PipelineWithMemorySwitches<C extends object> extends Pipeline<C> {
  /** Decodes and encodes a batch one picture at a time: the same pictures, memory independent of the batch size. */
  enableVaeSlicing(): void {
    this.#vae('enableSlicing')();
  }
  /** Decodes and encodes a batch as a whole again. */
  disableVaeSlicing(): void {
    this.#vae('disableSlicing')();
  }

  /**
   * Decodes and encodes pictures larger than a tile in overlapping tiles, blended.
   * @throws ArgumentError for bad options
   */
  enableVaeTiling(options: TilingOptions = {}): void {
    this.#vae('enableTiling')(options);
  }
  /** Decodes and encodes whole pictures again. */
  disableVaeTiling(): void {
    this.#vae('disableTiling')();
  }

  /**
   * Computes the denoiser's attention in slices: 'auto' half of the heads at a time, 'max' one head, a number that
   * many. Slicing bounds the score matrix, which only plain attention holds: see disableMemoryEfficientAttention.
   * @throws ArgumentError for a number that is no integer >= 1 or above a layer's heads
   */
  enableAttentionSlicing(slice: AttentionSlice = 'auto'): void {
    this.#sliceAttention(slice);
    warnIfSlicingIsUseless(this.inRole('denoiser') as readonly AttentionPolicies[]);
  }
  /** Computes all heads of a layer at once again. */
  disableAttentionSlicing(): void {
    this.#sliceAttention(undefined);
  }

  /** Computes attention as one op (the default), without a score matrix where the backend has a fused kernel. */
  enableMemoryEfficientAttention(): void {
    this.#setAttention(fusedAttention);
  }
  /** Computes attention as matmul, softmax, matmul, with the score matrix in memory. */
  disableMemoryEfficientAttention(): void {
    this.#setAttention(plainAttention);
  }
  /** enableMemoryEfficientAttention by diffusers' name. */
  enableXformersMemoryEfficientAttention(): void {
    this.enableMemoryEfficientAttention();
  }
  /** disableMemoryEfficientAttention by diffusers' name. */
  disableXformersMemoryEfficientAttention(): void {
    this.disableMemoryEfficientAttention();
  }

  /**
   * Keeps one component on the device at a time: text encoders, then the denoiser while the loop runs, then the VAE.
   * Weights must be in host memory: load with `{ weights: 'host' }`, or call toHost() first. Pipelines that share
   * modules share their offload: enabled on one pipeline, it applies to the calls of all.
   * @throws ArgumentError if weights are on the device or offload is enabled already
   */
  enableModelCpuOffload(): void {
    this.calls.requireNone('enableModelCpuOffload');
    this.offload.enableModel();
  }
  /** Ends model offload. Weights stay in host memory; to({ device }) brings them to the device. */
  disableModelCpuOffload(): void {
    this.calls.requireNone('disableModelCpuOffload');
    this.offload.disable('disableModelCpuOffload()');
  }
  /**
   * Keeps weights on the device only while their leaf module, or group of leaf modules, computes; the next group is
   * copied meanwhile. Weights must be in host memory, as for enableModelCpuOffload.
   * @throws ArgumentError if weights are on the device, offload is enabled already, or an option is bad
   */
  enableSequentialCpuOffload(options: SequentialOffloadOptions = {}): void {
    this.calls.requireNone('enableSequentialCpuOffload');
    this.offload.enableSequential(options);
  }
  /** Ends sequential offload. Weights stay in host memory; to({ device }) brings them to the device. */
  disableSequentialCpuOffload(): void {
    this.calls.requireNone('disableSequentialCpuOffload');
    this.offload.disable('disableSequentialCpuOffload()');
  }

  /** The VAE's method `name`, bound. @throws ArgumentError without a VAE, or if the VAE has no such method. */
  #vae<K extends keyof VaePolicies>(name: K): NonNullable<VaePolicies[K]> {
    const vae = this.inRole('vae')[0] as VaePolicies | undefined;
    const policy = vae?.[name];
    if (!policy) throw new ArgumentError(`${this.className}: this vae has no ${name}()`);
    return (policy as (...args: unknown[]) => void).bind(vae) as NonNullable<VaePolicies[K]>;
  }

  #sliceAttention(slice: AttentionSlice | undefined): void {
    for (const set of this.#ofDenoisers('setAttentionSlice')) set(slice);
  }

  /** Sets the strategy of the denoiser's attention, and of the VAE's if it has any. */
  #setAttention(strategy: AttentionStrategy): void {
    for (const set of this.#ofDenoisers('setBaseAttention')) set(strategy);
    for (const vae of this.inRole('vae') as readonly AttentionPolicies[]) vae.setBaseAttention?.(strategy);
  }

  /** The method `name` of each denoiser, bound. @throws ArgumentError if one has no such method. */
  #ofDenoisers<K extends 'setAttentionSlice' | 'setBaseAttention'>(
    name: K,
  ): readonly NonNullable<AttentionPolicies[K]>[] {
    return Object.entries(this.modules)
      .filter(([component]) => this.slots[component]!.role === 'denoiser')
      .map(([component, module]: [string, ModelLike & AttentionPolicies]) => {
        const method = module[name];
        if (!method)
          throw new ArgumentError(
            `${this.className}: this ${component} has no ${name}(); a traced one keeps the attention it was traced with`,
          );
        return method.bind(module) as NonNullable<AttentionPolicies[K]>;
      });
  }
}
