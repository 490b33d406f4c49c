// A tiny transformer denoiser of a family of its own: tokens of latents and of text attend to each other, as in SD 3 and
// Flux, and nothing of a UNet is in it. For the test beside this file.

import { add, attention, cast, concat, Module, nn, reshape } from '@darkroom/core';
import type { LayerNorm, Linear, Tensor } from '@darkroom/core';
import { ConfigReader } from '../models/config.ts';
import type { ConfigRecord } from '../models/config.ts';
import type { Conditioning } from '../models/conditioning.ts';
import { TimestepEmbedding, timestepEmbedding, timestepTensor } from '../models/embeddings.ts';

const sizes = [1, 4096] as const;

interface Settings {
  readonly inChannels: number;
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
  readonly textWidth: number;
  readonly pooledWidth: number;
}

function read(config: ConfigRecord, source: string): Settings {
  const c = new ConfigReader(config, source);
  return {
    inChannels: c.integer('in_channels', sizes),
    width: c.integer('width', sizes),
    heads: c.integer('num_attention_heads', sizes),
    layers: c.integer('num_layers', sizes),
    textWidth: c.integer('joint_attention_dim', sizes),
    pooledWidth: c.integer('pooled_projection_dim', sizes),
  };
}

class ToyBlock extends Module<[tokens: Tensor], Tensor> {
  norm1: LayerNorm;
  to_qkv: Linear;
  to_out: Linear;
  norm2: LayerNorm;
  ff1: Linear;
  ff2: Linear;
  readonly #heads: number;

  constructor({ width, heads }: Settings) {
    super();
    this.#heads = heads;
    this.norm1 = nn.layerNorm(width);
    this.to_qkv = nn.linear(width, 3 * width);
    this.to_out = nn.linear(width, width);
    this.norm2 = nn.layerNorm(width);
    this.ff1 = nn.linear(width, 4 * width);
    this.ff2 = nn.linear(4 * width, width);
  }

  override forward(tokens: Tensor): Tensor {
    const [n, length, width] = tokens.shape as [number, number, number];
    const heads = this.#heads;
    const parts = this.to_qkv.call(this.norm1.call(tokens)).chunk(3, 2);
    const [q, k, v] = parts.map((x) => reshape(x, [n, length, heads, width / heads]).permute(0, 2, 1, 3));
    const mixed = reshape(attention(q!, k!, v!).permute(0, 2, 1, 3), [n, length, width]);
    const attended = add(tokens, this.to_out.call(mixed));
    return add(attended, this.ff2.call(this.ff1.call(this.norm2.call(attended), { activation: 'silu' })));
  }
}

type Forward = [tokens: Tensor, timestep: number | Tensor, conditioning: Conditioning, pooled: Tensor];

export class ToyTransformer extends Module<Forward, Tensor> {
  proj_in: Linear;
  context_in: Linear;
  pooled_in: Linear;
  time: TimestepEmbedding;
  blocks: ToyBlock[];
  proj_out: Linear;
  readonly config: ConfigRecord;
  readonly inChannels: number;
  readonly #width: number;

  static fromConfig(config: ConfigRecord, source = 'transformer config'): ToyTransformer {
    return new ToyTransformer(config, read(config, source));
  }

  private constructor(config: ConfigRecord, s: Settings) {
    super();
    this.config = config;
    this.inChannels = s.inChannels;
    this.#width = s.width;
    this.proj_in = nn.linear(s.inChannels, s.width);
    this.context_in = nn.linear(s.textWidth, s.width);
    this.pooled_in = nn.linear(s.pooledWidth, s.width);
    this.time = new TimestepEmbedding(s.width, s.width);
    this.blocks = Array.from({ length: s.layers }, () => new ToyBlock(s));
    this.proj_out = nn.linear(s.width, s.inChannels);
  }

  /** tokens [n, l, c], text [n, t, textWidth] and pooled [n, pooledWidth] → [n, l, c]. */
  override forward(...[tokens, timestep, { encoderHiddenStates }, pooled]: Forward): Tensor {
    const [n, length] = tokens.shape as [number, number];
    const t = timestepTensor(timestep, n, tokens.deviceOrNone);
    const time = this.time.call(cast(timestepEmbedding(t, this.#width), tokens.dtype));
    const condition = reshape(add(time, this.pooled_in.call(pooled)), [n, 1, this.#width]);
    const image = add(this.proj_in.call(tokens), condition);
    let joined = concat([this.context_in.call(encoderHiddenStates), image], 1);
    const text = joined.shape[1]! - length;
    for (const block of this.blocks) joined = block.call(joined);
    return this.proj_out.call(joined.slice(1, text));
  }
}
