// The memory switches that every pipeline has. The models carry their state, so pipelines that share them agree.

import { ArgumentError, log } from '@darkroom/core';
import { fusedAttention, isSliced, plainAttention } from '../models/attention-strategies.ts';
import type { AttentionStrategy } from '../models/attention-strategies.ts';
import type { AttentionSlice } from '../models/model-with-attention.ts';
import type { AttentionPolicies, ModelLike, VaePolicies } from '../models/types.ts';
import type { TilingOptions } from '../models/vae-tiling.ts';
import type { SequentialOffloadOptions } from '../offload/sequential.ts';
import { Pipeline } from './pipeline.ts';

let told = false;
/** Says once that slicing the fused kernel saves nothing. */
export function tellWhenSlicingIsVain(denoisers: readonly AttentionPolicies[]): void {
  const strategies = denoisers.flatMap((d) => Object.values(d.attnStrategies ?? {}));
  const fused = strategies.every((s) => isSliced(s) && s.inner === fusedAttention);
  if (told || !fused || strategies.length === 0) return;
  told = true;
  log.warn(
    'enableAttentionSlicing: attention is memory efficient already and holds no score matrix, so slicing saves nothing',
  );
}

export abstract class PipelineWithMemorySwitches<C extends object> extends Pipeline<C> {
  /** Decodes (and encodes) a batch one picture at a time: the same pictures, memory independent of their number. */
  enableVaeSlicing(): void {
    this.#vae('enableSlicing')();
  }
  disableVaeSlicing(): void {
    this.#vae('disableSlicing')();
  }

  /** Decodes (and encodes) pictures larger than a tile in overlapping tiles, blended. */
  enableVaeTiling(options: TilingOptions = {}): void {
    this.#vae('enableTiling')(options);
  }
  disableVaeTiling(): void {
    this.#vae('disableTiling')();
  }

  /**
   * Computes the denoiser's attention in slices: 'auto' in two steps a layer, 'max' one head at a time, n so many heads.
   * It bounds the score matrix, which only the plain formulation holds: see disableMemoryEfficientAttention.
   */
  enableAttentionSlicing(slice: AttentionSlice = 'auto'): void {
    this.#sliceAttention(slice);
    tellWhenSlicingIsVain(this.inRole('denoiser') as readonly AttentionPolicies[]);
  }
  disableAttentionSlicing(): void {
    this.#sliceAttention(undefined);
  }

  /** The default: attention as one op, which holds no score matrix where the backend has a kernel for it. */
  enableMemoryEfficientAttention(): void {
    this.#computeAttention(fusedAttention);
  }
  /** The plain formulation instead, with the score matrix in memory. */
  disableMemoryEfficientAttention(): void {
    this.#computeAttention(plainAttention);
  }
  /** enableMemoryEfficientAttention by diffusers' name. */
  enableXformersMemoryEfficientAttention(): void {
    this.enableMemoryEfficientAttention();
  }
  disableXformersMemoryEfficientAttention(): void {
    this.disableMemoryEfficientAttention();
  }

  /**
   * Keeps one component on the device at a time: text encoders, then the denoiser while the loop runs, then the VAE.
   * Weights must be in host memory: load with `{ weights: 'host' }`, or call toHost() first. Pipelines that share modules
   * share their offload: whatever one of them enabled holds for the calls of all.
   * @throws ArgumentError when they are on the device, or when offload is enabled already.
   */
  enableModelCpuOffload(): void {
    this.calls.requireNone('enableModelCpuOffload');
    this.offload.enableModel();
  }
  /** Weights then lie in host memory; to({ device }) brings them to the device. */
  disableModelCpuOffload(): void {
    this.calls.requireNone('disableModelCpuOffload');
    this.offload.disable('disableModelCpuOffload()');
  }
  /**
   * Keeps weights on the device only while their leaf module, or group of leaf modules, computes; the next group comes
   * meanwhile. Weights must be in host memory, as for enableModelCpuOffload.
   * @throws ArgumentError when they are on the device, when offload is enabled already, or for bad options.
   */
  enableSequentialCpuOffload(options: SequentialOffloadOptions = {}): void {
    this.calls.requireNone('enableSequentialCpuOffload');
    this.offload.enableSequential(options);
  }
  /** Weights then lie in host memory; to({ device }) brings them to the device. */
  disableSequentialCpuOffload(): void {
    this.calls.requireNone('disableSequentialCpuOffload');
    this.offload.disable('disableSequentialCpuOffload()');
  }

  /** The VAE's method of this name. @throws ArgumentError when there is no VAE, or one of the user's has none. */
  #vae<K extends keyof VaePolicies>(name: K): NonNullable<VaePolicies[K]> {
    const vae = this.inRole('vae')[0] as VaePolicies | undefined;
    const policy = vae?.[name];
    if (!policy) throw new ArgumentError(`${this.className}: this vae has no ${name}()`);
    return (policy as (...args: unknown[]) => void).bind(vae) as NonNullable<VaePolicies[K]>;
  }

  #sliceAttention(slice: AttentionSlice | undefined): void {
    for (const set of this.#ofDenoisers('setAttentionSlice')) set(slice);
  }

  /** Of the denoiser, and of a VAE that has attention layers. */
  #computeAttention(strategy: AttentionStrategy): void {
    for (const set of this.#ofDenoisers('setBaseAttention')) set(strategy);
    for (const vae of this.inRole('vae') as readonly AttentionPolicies[]) vae.setBaseAttention?.(strategy);
  }

  /** The method of each denoiser. @throws ArgumentError when one has none, before anything is set. */
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
