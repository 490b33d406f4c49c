// What pipelines ask of a VAE's config; missing keys have diffusers' defaults.

import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';

/** @throws FormatError from each getter for a value that cannot be. */
export class VaeFacts {
  readonly #config: ConfigReader;

  constructor(config: ConfigRecord, source = 'vae config') {
    this.#config = new ConfigReader(config, source);
  }

  get latentChannels(): number {
    return this.#config.integer('latent_channels', limits.widths, 4);
  }
  /** Mean of the latents by channel; undefined where they are centred. */
  get latentsMean(): readonly number[] | undefined {
    return this.#config.optionalNumbers('latents_mean', this.latentChannels);
  }
  /** Standard deviation of the latents by channel. */
  get latentsStd(): readonly number[] | undefined {
    return this.#config.optionalNumbers('latents_std', this.latentChannels);
  }
  /** Subtracted from latents before they are scaled (SD 3, Flux); default 0. */
  get shiftFactor(): number {
    return this.#config.has('shift_factor') ? this.#config.number('shift_factor', [-1e9, 1e9]) : 0;
  }
  /** True: in float16 it decodes in float32. */
  get forceUpcast(): boolean {
    return this.#config.boolean('force_upcast', true);
  }
}
