// Base of the pipelines of SD 1.x, 2.x and SDXL: a UNet, a VAE, a text encoder with its tokenizer.

import { toAsync } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { ComponentSlots } from '../components/slots.ts';
import type { TextEncoderLike, UNetLike, VaeLike } from '../models/types.ts';
import { unetConfig } from '../models/unet-config.ts';
import { vaeConfig } from '../models/vae-config.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import type { Target } from './conditioners/batch.ts';
import type { TextEncoding } from './conditioners/encode-texts.ts';
import { LatentDiffusionPipeline } from './latent-diffusion.ts';
import { asUNet } from './own-unet.ts';
import type { OwnUNet } from './own-unet.ts';
import type { NamedTensors, PixelSize } from './recipe.ts';
import { VaeCodec, vaeScale } from './vae-codec.ts';

/** Components of the pipelines with a UNet. */
export interface PipelineComponents {
  readonly vae: VaeLike;
  readonly textEncoder: TextEncoderLike;
  readonly tokenizer: ClipTokenizer;
  readonly unet: UNetLike;
  readonly scheduler: Scheduler;
}

/** The slots of PipelineComponents, to be extended by other pipelines with a UNet. */
export const unetSlots: ComponentSlots<PipelineComponents> = {
  vae: { folder: 'vae', role: 'vae' },
  textEncoder: { folder: 'text_encoder', role: 'textEncoder' },
  tokenizer: { folder: 'tokenizer', role: 'tokenizer' },
  unet: { folder: 'unet', role: 'denoiser' },
  scheduler: { folder: 'scheduler', role: 'scheduler' },
};

/** The UNet of each pipeline. A user's own object is wrapped by asUNet(). */
const unets = new WeakMap<object, UNetLike>();

/** Base of pipelines that denoise with a UNet: its components, the codec of its VAE, and sizes by their configs. */
export abstract class UNetPipeline<
  C extends PipelineComponents = PipelineComponents,
> extends LatentDiffusionPipeline<C> {
  declare vae: VaeLike;
  declare textEncoder: TextEncoderLike;
  declare tokenizer: ClipTokenizer;

  /**
   * The UNet; settable to a traced one, or to an own object with config, device, dtype and forward.
   * @throws ArgumentError
   */
  get unet(): UNetLike {
    return unets.get(this)!;
  }
  set unet(unet: UNetLike | OwnUNet) {
    unets.set(this, asUNet(unet));
  }

  /** Pixels per latent: 2^(levels - 1) of the VAE. */
  get vaeScale(): number {
    return vaeScale(this.vae);
  }
  /** Channels of the VAE's latents. */
  get latentChannels(): number {
    return vaeConfig(this.vae).latentChannels;
  }
  /** True if the UNet requires a mask and the masked picture beside the latents (inpainting models). */
  get readsMask(): boolean {
    return unetConfig(this.unet).inChannels === 2 * this.latentChannels + 1;
  }
  override get sizeMultiple(): number {
    return this.codec.scale;
  }
  override get defaultSize(): PixelSize {
    const [height, width] = unetConfig(this.unet).sampleSize ?? [64, 64];
    return { height: height * this.vaeScale, width: width * this.vaeScale };
  }

  /** The codec of this pipeline's VAE. */
  get codec(): VaeCodec {
    return new VaeCodec(this.vae, { dtype: this.computeDtype });
  }
  /** The first text encoder with its tokenizer. */
  protected get firstEncoder(): TextEncoding {
    return { tokenizer: this.tokenizer, encoder: this.textEncoder };
  }
  /** Device and dtype of embeddings, and the width of the UNet's guidance embedding. */
  protected get target(): Target {
    const { device, computeDtype: dtype, unet } = this;
    return { device, dtype, guidanceSize: unetConfig(unet).timeCondProjDim };
  }

  /** The user's tensors of the named options, on the pipeline's device and in its computeDtype; new handles. */
  protected async givenTensors<O>(options: O, names: readonly (keyof O & string)[]): Promise<NamedTensors> {
    const inputs: Record<string, Tensor> = {};
    for (const name of names) {
      const given = options[name] as Tensor | undefined;
      if (given) inputs[name] = await toAsync(given, { device: this.device, dtype: this.computeDtype });
    }
    return inputs;
  }
}
