// CLIP's text encoder, with and without the projection head. Reference: transformers' CLIPTextModel.

import {
  add,
  ArgumentError,
  attention,
  cast,
  embedding,
  Module,
  nn,
  reshape,
  scope,
  tensor,
} from '@darkroom/core';
import type { Activation, DType, Embedding, LayerNorm, Linear, Tensor } from '@darkroom/core';
import { renaming } from '../loading/key-conversion.ts';
import type { KeyConversion } from '../loading/key-conversion.ts';
import { ConfigReader } from './config.ts';
import type { ConfigRecord } from './config.ts';
import * as limits from './limits.ts';

const activations = {
  quick_gelu: 'quickGelu',
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
} as const satisfies Readonly<Record<string, Activation>>;
const activationNames = Object.keys(activations) as (keyof typeof activations)[];

interface ClipSettings {
  readonly vocabulary: number;
  readonly size: number;
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly positions: number;
  readonly activation: Activation;
  readonly eps: number;
  readonly eos: number;
  readonly projection: number;
}

function readClipConfig(config: ConfigRecord, source: string, projects: boolean): ClipSettings {
  const c = new ConfigReader(config, source);
  const size = c.integer('hidden_size', limits.widths, 512);
  const heads = c.integer('num_attention_heads', limits.widths, 8);
  if (size % heads !== 0) c.fail('num_attention_heads', `must divide hidden_size ${size}`);
  // The config of a whole CLIP has the text model's config under this key: not supported.
  c.unsupported('text_config');
  c.unsupported('use_attention_mask', false); // pipelines would mask padding
  c.number('attention_dropout', [0, 1], 0);
  return {
    vocabulary: c.integer('vocab_size', limits.tableRows, 49408),
    size,
    inner: c.integer('intermediate_size', limits.joinedWidths, 2048),
    layers: c.integer('num_hidden_layers', limits.textLayers, 12),
    heads,
    positions: c.integer('max_position_embeddings', limits.widths, 77),
    activation: activations[c.choice('hidden_act', activationNames, 'quick_gelu')],
    eps: c.number('layer_norm_eps', limits.epsilons, 1e-5),
    eos: c.integer('eos_token_id', [0, limits.tableRows[1]], 49407),
    projection: projects ? c.integer('projection_dim', limits.widths, 512) : 0,
  };
}

interface Tokens {
  /** [b, l] */
  readonly tokens: Tensor;
  /** `[1, l]`: 0, 1, … */
  readonly positions: Tensor;
}

/** Token ids as tensors, int32. */
export interface TokenTensors extends Tokens {
  /** `[b]`: the places of the end tokens among all b·l. */
  readonly ends: Tensor;
}

class ClipAttention extends Module<[x: Tensor], Tensor> {
  k_proj: Linear;
  v_proj: Linear;
  q_proj: Linear;
  out_proj: Linear;
  readonly #heads: number;

  constructor(size: number, heads: number) {
    super();
    this.#heads = heads;
    this.k_proj = nn.linear(size, size);
    this.v_proj = nn.linear(size, size);
    this.q_proj = nn.linear(size, size);
    this.out_proj = nn.linear(size, size);
  }

  /** x [b, l, size] → the same shape; causal: each token attends to itself and those before it. */
  override forward(x: Tensor): Tensor {
    const [b, l, size] = x.shape as [number, number, number];
    const split = (t: Tensor): Tensor => t.view([b, l, this.#heads, size / this.#heads]).permute(0, 2, 1, 3);
    const out = attention(
      split(this.q_proj.call(x)),
      split(this.k_proj.call(x)),
      split(this.v_proj.call(x)),
      { causal: true },
    );
    return this.out_proj.call(reshape(out.permute(0, 2, 1, 3), [b, l, size]));
  }
}

class ClipMlp extends Module<[x: Tensor], Tensor> {
  fc1: Linear;
  fc2: Linear;
  readonly #activation: Activation;

  constructor(s: ClipSettings) {
    super();
    this.#activation = s.activation;
    this.fc1 = nn.linear(s.size, s.inner);
    this.fc2 = nn.linear(s.inner, s.size);
  }
  override forward(x: Tensor): Tensor {
    return this.fc2.call(this.fc1.call(x, { activation: this.#activation }));
  }
}

class ClipLayer extends Module<[x: Tensor], Tensor> {
  self_attn: ClipAttention;
  layer_norm1: LayerNorm;
  mlp: ClipMlp;
  layer_norm2: LayerNorm;

  constructor(s: ClipSettings) {
    super();
    this.self_attn = new ClipAttention(s.size, s.heads);
    this.layer_norm1 = nn.layerNorm(s.size, s.eps);
    this.mlp = new ClipMlp(s);
    this.layer_norm2 = nn.layerNorm(s.size, s.eps);
  }
  override forward(x: Tensor): Tensor {
    const h = add(x, this.self_attn.call(this.layer_norm1.call(x)));
    return add(h, this.mlp.call(this.layer_norm2.call(h)));
  }
}

class ClipEmbeddings extends Module<[tokens: Tokens, dtype: DType], Tensor> {
  token_embedding: Embedding;
  position_embedding: Embedding;

  constructor(s: ClipSettings) {
    super();
    this.token_embedding = nn.embedding(s.vocabulary, s.size);
    this.position_embedding = nn.embedding(s.positions, s.size);
  }
  override forward({ tokens, positions }: Tokens, dtype: DType): Tensor {
    // Call the module instead of reading its weight: offload loads the weight at the call.
    const places = this.position_embedding.call(positions);
    return add(cast(this.token_embedding.call(tokens), dtype), cast(places, dtype));
  }
}

class ClipEncoder extends Module<[x: Tensor], Tensor[]> {
  layers: ClipLayer[];

  constructor(s: ClipSettings) {
    super();
    this.layers = Array.from({ length: s.layers }, () => new ClipLayer(s));
  }
  /** The input and the output of every layer. */
  override forward(x: Tensor): Tensor[] {
    const states = [x];
    for (const layer of this.layers) states.push(layer.call(states.at(-1)!));
    return states;
  }
}

class ClipTextTransformer extends Module<
  [tokens: Tokens, dtype: DType, skip: number],
  { states: Tensor[]; last: Tensor }
> {
  embeddings: ClipEmbeddings;
  encoder: ClipEncoder;
  final_layer_norm: LayerNorm;

  constructor(s: ClipSettings) {
    super();
    this.embeddings = new ClipEmbeddings(s);
    this.encoder = new ClipEncoder(s);
    this.final_layer_norm = nn.layerNorm(s.size, s.eps);
  }
  override forward(tokens: Tokens, dtype: DType, skip: number): { states: Tensor[]; last: Tensor } {
    const states = this.encoder.call(this.embeddings.call(tokens, dtype));
    return { states, last: this.final_layer_norm.call(states.at(-1 - skip)!) };
  }
}

/** The result of a text encoder. */
export interface TextModelOutput {
  /** `[b, l, size]`: the hidden state that clipSkip selects, after the final norm. */
  readonly lastHiddenState: Tensor;
  /** `[b, size]`: lastHiddenState at the end token. */
  readonly poolerOutput: Tensor;
  /** [b, l, size] each: the embeddings, then the output of every layer, before the final norm. */
  readonly hiddenStates: readonly Tensor[];
  /** [b, projection_dim]; with the projection head only. */
  readonly textEmbeds?: Tensor;
}

/** Options of a call of a text encoder. */
export interface TextModelOptions {
  /** dtype of activations; default: that of the weights. */
  readonly dtype?: DType;
  /** k selects the hidden state before the last k layers; default 0. */
  readonly clipSkip?: number;
}

type Forward = [ids: readonly (readonly number[])[], options?: TextModelOptions];

/** CLIP's text encoder. Reference: transformers' class of the same name. */
export class CLIPTextModel extends Module<Forward, TextModelOutput> {
  text_model: ClipTextTransformer;
  readonly config: ConfigRecord;
  protected readonly settings: ClipSettings;
  protected static readonly projects: boolean = false;

  /**
   * A model without weights. `source` names the config file in messages.
   * @throws FormatError for a bad or unknown value.
   */
  static fromConfig(config: ConfigRecord, source = 'text encoder config'): CLIPTextModel {
    const model = new this(config, readClipConfig(config, source, this.projects));
    return limits.checkParameterCount(model, source, 'hidden_size and the other widths');
  }

  constructor(config: ConfigRecord, settings: ClipSettings) {
    super();
    this.name = 'text_encoder';
    this.config = config;
    this.settings = settings;
    this.text_model = new ClipTextTransformer(settings);
  }

  /**
   * ids: b lists of one length, at most max_position_embeddings.
   * @throws ArgumentError for bad lengths, ids or clipSkip
   */
  override forward(...[ids, options = {}]: Forward): TextModelOutput {
    return scope(() => this.encode(this.inputs(ids), options));
  }

  /**
   * The tensors that encode() takes.
   * @throws ArgumentError for bad lengths and ids
   */
  inputs(ids: Forward[0]): TokenTensors {
    const { positions, vocabulary } = this.settings;
    const length = ids[0]?.length ?? 0;
    if (length === 0 || length > positions || ids.some((row) => row.length !== length)) {
      throw new ArgumentError(
        `ids must be lists of one length from 1 to ${positions}, got ${ids.map((r) => r.length).join(', ')}`,
      );
    }
    const bad = ids.flat().find((id) => !(id >= 0 && id < vocabulary));
    if (bad !== undefined) throw new ArgumentError(`id ${bad} is outside the vocabulary of ${vocabulary}`);
    const on = { dtype: 'int32', device: this.device! } as const;
    const ends = ids.map((row, b) => b * length + this.#pooledAt(row));
    const order = Array.from({ length }, (_, i) => i);
    return {
      tokens: tensor(ids.flat(), { shape: [ids.length, length], ...on }),
      positions: tensor(order, { shape: [1, length], ...on }),
      ends: tensor(ends, on),
    };
  }

  /**
   * forward() of ids that are on the device already, without the hooks of this module.
   * @throws ArgumentError for a bad clipSkip
   */
  encode(tokens: TokenTensors, options: TextModelOptions = {}): TextModelOutput {
    const { layers, size } = this.settings;
    const skip = options.clipSkip ?? 0;
    if (skip > layers)
      throw new ArgumentError(`clipSkip must be at most ${layers} (the layers of this model), got ${skip}`);
    return scope(() => {
      const { states, last } = this.text_model.call(tokens, options.dtype ?? this.dtype, skip);
      const rows = last.view([tokens.tokens.elements, size]);
      return this.project({
        lastHiddenState: last,
        poolerOutput: embedding(rows, tokens.ends),
        hiddenStates: states,
      });
    });
  }

  /** Adds what a projection head gives. */
  protected project(out: TextModelOutput): TextModelOutput {
    return out;
  }

  /**
   * Index of the end token in a row. Old configs give end token 2, which occurs in no row: then the largest id is used.
   */
  #pooledAt(row: readonly number[]): number {
    const { eos } = this.settings;
    if (eos === 2) return row.indexOf(Math.max(...row));
    return Math.max(0, row.indexOf(eos));
  }
}

/** CLIP's text encoder with a projection of the pooled output. Reference: transformers' class of the same name. */
export class CLIPTextModelWithProjection extends CLIPTextModel {
  text_projection: Linear;
  protected static override readonly projects = true;

  constructor(config: ConfigRecord, settings: ClipSettings) {
    super(config, settings);
    this.text_projection = nn.linear(settings.size, settings.projection, { bias: false });
  }

  protected override project(out: TextModelOutput): TextModelOutput {
    return { ...out, textEmbeds: this.text_projection.call(out.poolerOutput) };
  }
}

/** Converts keys of checkpoints: skips the position buffer of old files, adds a missing `text_model.` prefix. */
export const convertTextEncoderKeys: KeyConversion = renaming((key) => {
  if (key.endsWith('embeddings.position_ids')) return undefined;
  return /^(embeddings|encoder|final_layer_norm)\./.test(key) ? `text_model.${key}` : key;
});
