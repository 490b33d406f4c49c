// What pipelines ask of a UNet's config: of a model here, of a traced one, or of a user's own object, which have no more
// than the config. Missing keys have diffusers' defaults. Each value is read when it is asked for.

import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';

/** @throws FormatError from each getter for a value that cannot be. */
export class UNetFacts {
  readonly #config: ConfigReader;

  constructor(config: ConfigRecord, source = 'unet config') {
    this.#config = new ConfigReader(config, source);
  }

  get inChannels(): number {
    return this.#config.integer('in_channels', limits.widths, 4);
  }
  get outChannels(): number {
    return this.#config.integer('out_channels', limits.widths, 4);
  }
  /** Channels of the level of the full size; undefined where the config does not say. */
  get firstChannels(): number | undefined {
    const { widths, maxLevels } = limits;
    return this.#config.has('block_out_channels')
      ? this.#config.integers('block_out_channels', widths, maxLevels, [])[0]
      : undefined;
  }
  /** [height, width] in latents that it was trained on; default 64 by 64. */
  get sampleSize(): readonly [number, number] {
    const [height, width] = this.#config.optionalSize('sample_size', limits.edges) ?? [64, 64];
    return [height!, width!];
  }
  /** Width of the guidance embedding that a distilled UNet reads (LCM); undefined: it reads none. */
  get timeCondSize(): number | undefined {
    return this.#config.optionalInteger('time_cond_proj_dim', limits.widths);
  }
  /** Width of the text's hidden states: of the first level, where levels differ. */
  get contextWidth(): number {
    const c = this.#config;
    if (c.has('encoder_hid_dim')) return c.integer('encoder_hid_dim', limits.widths);
    const width = c.raw('cross_attention_dim', 1280);
    return Array.isArray(width)
      ? c.integers('cross_attention_dim', limits.widths, limits.maxLevels, [])[0]!
      : c.integer('cross_attention_dim', limits.widths, 1280);
  }
  /** Width of SDXL's pooled text, given so many time ids; undefined where the UNet reads none. */
  pooledWidth(timeIds: number): number | undefined {
    const c = this.#config;
    if (c.raw('addition_embed_type') !== 'text_time') return undefined;
    const joined = c.integer('projection_class_embeddings_input_dim', limits.widths);
    const pooled = joined - timeIds * c.integer('addition_time_embed_dim', limits.widths);
    const rule = `must be above ${timeIds} times addition_time_embed_dim, which leaves ${pooled} for the pooled text`;
    return pooled >= 1 ? pooled : c.fail('projection_class_embeddings_input_dim', rule);
  }
}
