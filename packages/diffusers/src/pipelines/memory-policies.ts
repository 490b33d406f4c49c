// What a pipeline's memory switches do to its models. The models carry the state, so pipelines that share them agree.

import { ArgumentError, log } from '@darkroom/core';
import { fusedAttention, isSliced } from '../models/attention-strategies.ts';
import type { AttentionStrategy } from '../models/attention-strategies.ts';
import type { AttentionSlice } from '../models/model-with-attention.ts';
import type { UNetLike, VaeLike } from '../models/types.ts';

interface Models {
  readonly className: string;
  readonly unet: UNetLike;
  readonly vae: VaeLike;
}

type VaePolicy = 'enableSlicing' | 'disableSlicing' | 'enableTiling' | 'disableTiling';

/** The VAE's method of this name. @throws ArgumentError when a VAE of the user's has none. */
export function vaePolicy<K extends VaePolicy>({ className, vae }: Models, name: K): NonNullable<VaeLike[K]> {
  const policy = vae[name];
  if (!policy) throw new ArgumentError(`${className}: this vae has no ${name}()`);
  return policy.bind(vae) as NonNullable<VaeLike[K]>;
}

export function sliceAttention({ className, unet }: Models, slice: AttentionSlice | undefined): void {
  if (!unet.setAttentionSlice) throw new ArgumentError(withoutLayers(className, 'setAttentionSlice'));
  unet.setAttentionSlice(slice);
}

/** Of the UNet, and of a VAE that has attention layers. */
export function computeAttention({ className, unet, vae }: Models, strategy: AttentionStrategy): void {
  if (!unet.setBaseAttention) throw new ArgumentError(withoutLayers(className, 'setBaseAttention'));
  unet.setBaseAttention(strategy);
  vae.setBaseAttention?.(strategy);
}

function withoutLayers(className: string, method: string): string {
  return `${className}: this unet has no ${method}(); a traced one keeps the attention it was traced with`;
}

let told = false;
/** Says once that slicing the fused kernel saves nothing. */
export function tellWhenSlicingIsVain({ unet }: Models): void {
  const strategies = Object.values(unet.attnProcessors ?? {});
  const fused = strategies.every((s) => isSliced(s) && s.inner === fusedAttention);
  if (told || !fused || strategies.length === 0) return;
  told = true;
  log.warn(
    'enableAttentionSlicing: attention is memory efficient already and holds no score matrix, so slicing saves nothing',
  );
}
