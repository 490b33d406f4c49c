// The toy family's pipeline: two encoders, a transformer on packed latents, the VAE of Stable Diffusion with a shift.

import { checkOptions, scope } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';
import type { ComponentClass } from '../components/component-class.ts';
import { modelClass } from '../components/model-class.ts';
import type { ComponentSlots } from '../components/slots.ts';
import { readJson } from '../loading/json.ts';
import type { TextEncoderLike, VaeLike } from '../models/types.ts';
import { checkCall, withSize } from '../pipelines/check-call.ts';
import { batchEmbeddings, blanks, tokenIds } from '../pipelines/conditioners/batch.ts';
import { LatentDiffusionPipeline } from '../pipelines/latent-diffusion.ts';
import type { DrawArguments, Draws } from '../pipelines/latent-diffusion.ts';
import { callOptionNames } from '../pipelines/options.ts';
import type { CallOptions, StableDiffusionOutput } from '../pipelines/options.ts';
import type { Conditioner, Denoiser, PixelSize, Recipe } from '../pipelines/recipe.ts';
import { textToImage } from '../pipelines/starts/text-to-image.ts';
import { VaeCodec } from '../pipelines/vae-codec.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import type { ClipTokenizer } from '../tokenizers/clip.ts';
import { ByteEncoder, ByteTokenizer } from './byte-encoder.ts';
import { ToyTransformer } from './transformer.ts';

export interface ToyComponents {
  readonly vae: VaeLike;
  readonly textEncoder: TextEncoderLike;
  readonly tokenizer: ClipTokenizer;
  readonly textEncoder2: ByteEncoder;
  readonly tokenizer2: ByteTokenizer;
  readonly transformer: ToyTransformer;
  readonly scheduler: Scheduler;
  /** Optional; its prediction is joined to the first's, as a ControlNet's would be. */
  readonly secondTransformer?: ToyTransformer;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- gives instances their call signature
export interface ToyPipeline extends Draws<CallOptions> {
  generate(...args: DrawArguments<CallOptions>): Promise<StableDiffusionOutput>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class ToyPipeline extends LatentDiffusionPipeline<ToyComponents> {
  static readonly className = 'ToyPipeline';
  static readonly slots: ComponentSlots<ToyComponents> = {
    vae: { folder: 'vae', role: 'vae' },
    textEncoder: { folder: 'text_encoder', role: 'textEncoder' },
    tokenizer: { folder: 'tokenizer', role: 'tokenizer' },
    textEncoder2: { folder: 'text_encoder_2', role: 'textEncoder' },
    tokenizer2: { folder: 'tokenizer_2', role: 'tokenizer' },
    transformer: { folder: 'transformer', role: 'denoiser' },
    scheduler: { folder: 'scheduler', role: 'scheduler' },
    secondTransformer: { folder: 'second_transformer', role: 'denoiser', optional: true },
  };
  declare vae: VaeLike;
  declare textEncoder: TextEncoderLike;
  declare tokenizer: ClipTokenizer;
  declare textEncoder2: ByteEncoder;
  declare tokenizer2: ByteTokenizer;
  declare transformer: ToyTransformer;
  declare secondTransformer: ToyTransformer | undefined;

  get #codec(): VaeCodec {
    return new VaeCodec(this.vae, { dtype: this.computeDtype, shift: true, patch: 2 });
  }
  override get defaultSize(): PixelSize {
    return { height: 64, width: 64 };
  }
  override get sizeMultiple(): number {
    return this.#codec.scale;
  }

  protected override recipe(
    prompt: string | readonly string[] | undefined,
    options: CallOptions = {},
  ): Recipe {
    const optionNames = callOptionNames;
    checkOptions(this.className, options, optionNames);
    const rules = { className: this.className, optionNames, guidanceScale: 3, readsGuidance: false };
    const call = withSize(checkCall(prompt, options, rules), this.#codec, this.defaultSize, options);
    return {
      call,
      inputs: async () => ({}),
      conditioner: this.#conditioner(),
      start: textToImage(this.#codec),
      denoiser: this.#denoiser(),
      codec: this.#codec,
    };
  }

  #conditioner(): Conditioner {
    const { tokenizer, textEncoder, tokenizer2, textEncoder2, computeDtype: dtype } = this;
    const states = (texts: readonly string[]): Tensor =>
      textEncoder.call(tokenIds(tokenizer, texts), { dtype }).lastHiddenState;
    const pooled = (texts: readonly string[]): Tensor =>
      textEncoder2.call(texts.map((text) => tokenizer2.encode(text)));
    return {
      embed: (call) =>
        scope(() => {
          const { prompts, negatives = blanks(call) } = call.texts[0]!;
          const batch = (encode: (texts: readonly string[]) => Tensor): Tensor =>
            batchEmbeddings(call, call.guided ? encode(negatives) : undefined, encode(prompts!), dtype);
          return { promptEmbeds: batch(states), pooledEmbeds: batch(pooled) };
        }),
    };
  }

  #denoiser(): Denoiser {
    const { transformer, secondTransformer: second } = this;
    const modules = second ? [transformer, second] : [transformer];
    return {
      name: 'transformer',
      dtype: transformer.dtype,
      modules,
      // The second one reads only the first half of the noise.
      variant: ({ timestep }) => (second && timestep > 500 ? 'both' : 'one'),
      predict: (latents, { timestep, variant }, { promptEmbeds, pooledEmbeds }) => {
        const conditioning = { encoderHiddenStates: promptEmbeds! };
        const hidden =
          second && variant === 'both'
            ? second.call(latents, timestep, conditioning, pooledEmbeds!)
            : latents;
        return transformer.call(hidden, timestep, conditioning, pooledEmbeds!);
      },
    };
  }
}

const byteTokenizer: ComponentClass<ByteTokenizer> = {
  names: ['ByteTokenizer'],
  library: 'toy',
  is: (component) => component instanceof ByteTokenizer,
  load: async (files, folder) => {
    const { max_length: length } = await readJson(files, `${folder}/tokenizer_config.json`);
    return new ByteTokenizer(length as number);
  },
  save: ({ maxLength }) => [
    { name: 'tokenizer_config.json', data: JSON.stringify({ max_length: maxLength }) },
  ],
};

/** The registry entries of the toy family. */
export const toyComponents: readonly ComponentClass[] = [
  byteTokenizer,
  modelClass({
    name: 'ByteEncoder',
    library: 'transformers',
    model: ByteEncoder,
    fromConfig: (config, source) => ByteEncoder.fromConfig(config, source),
  }),
  modelClass({
    name: 'ToyTransformer',
    library: 'diffusers',
    model: ToyTransformer,
    fromConfig: (config, source) => ToyTransformer.fromConfig(config, source),
  }),
] as unknown as readonly ComponentClass[];
