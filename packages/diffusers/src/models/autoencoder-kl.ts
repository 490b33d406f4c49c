// AutoencoderKL: images to the distribution of their latents, and back. Reference: diffusers' class of the same name.

import { clamp, map, Module, nn, scope } from '@darkroom/core';
import type { Conv2d, GroupNorm, Tensor } from '@darkroom/core';
import { renaming } from '../loading/key-conversion.ts';
import type { KeyConversion } from '../loading/key-conversion.ts';
import { ImageAttention } from './attention.ts';
import type { ConfigRecord } from './config.ts';
import { checkParameterCount } from './limits.ts';
import { ModelWithAttention } from './model-with-attention.ts';
import { Downsample2D, ResnetBlock2D, Upsample2D } from './resnet.ts';
import { readVaeConfig } from './vae-config.ts';
import type { VaeSettings } from './vae-config.ts';
import { sliced, tiled, tilesOf } from './vae-tiling.ts';
import type { Tiles, TilingOptions } from './vae-tiling.ts';

const eps = 1e-6;

class VaeMidBlock extends Module<[x: Tensor, owned?: boolean], Tensor> {
  attentions?: ImageAttention[];
  resnets: ResnetBlock2D[];

  constructor(channels: number, groups: number, attention: boolean) {
    super();
    if (attention) {
      this.attentions = [
        new ImageAttention({
          queryDim: channels,
          heads: 1,
          headDim: channels,
          bias: true,
          groupNorm: { groups, eps },
        }),
      ];
    }
    const resnet = (): ResnetBlock2D =>
      new ResnetBlock2D({ inChannels: channels, outChannels: channels, groups, eps });
    this.resnets = [resnet(), resnet()];
  }

  /** `owned`: frees x after its last use. */
  override forward(x: Tensor, owned = false): Tensor {
    return chain(x, owned, [this.resnets[0]!, ...(this.attentions ?? []), this.resnets[1]!]);
  }
}

class VaeBlock extends Module<[x: Tensor, owned?: boolean], Tensor> {
  resnets: ResnetBlock2D[];
  downsamplers?: Downsample2D[];
  upsamplers?: Upsample2D[];

  constructor(
    inChannels: number,
    outChannels: number,
    layers: number,
    groups: number,
    resample: 'down' | 'up' | 'none',
  ) {
    super();
    this.resnets = Array.from(
      { length: layers },
      (_, i) =>
        new ResnetBlock2D({ inChannels: i === 0 ? inChannels : outChannels, outChannels, groups, eps }),
    );
    if (resample === 'down') this.downsamplers = [new Downsample2D(outChannels, 0)];
    if (resample === 'up') this.upsamplers = [new Upsample2D(outChannels)];
  }

  /** `owned`: frees x after its last use: a decode's memory peaks behind a block's first layer. */
  override forward(x: Tensor, owned = false): Tensor {
    return chain(x, owned, [...this.resnets, ...(this.downsamplers ?? []), ...(this.upsamplers ?? [])]);
  }
}

/** Calls modules in turn, freeing each intermediate result after its use; x too if `owned`. */
function chain(x: Tensor, owned: boolean, modules: readonly { call(x: Tensor): Tensor }[]): Tensor {
  return modules.reduce((h, module) => {
    const next = module.call(h);
    if (h !== x || owned) h.dispose();
    return next;
  }, x);
}

class Encoder extends Module<[x: Tensor], Tensor> {
  conv_in: Conv2d;
  down_blocks: VaeBlock[];
  mid_block: VaeMidBlock;
  conv_norm_out: GroupNorm;
  conv_out: Conv2d;

  constructor(s: VaeSettings) {
    super();
    const { channels } = s;
    const last = channels.at(-1)!;
    this.conv_in = nn.conv2d(s.inChannels, channels[0]!, 3, { padding: 1 });
    this.down_blocks = channels.map(
      (c, i) =>
        new VaeBlock(
          channels[Math.max(0, i - 1)]!,
          c,
          s.layers,
          s.groups,
          i < channels.length - 1 ? 'down' : 'none',
        ),
    );
    this.mid_block = new VaeMidBlock(last, s.groups, s.midAttention);
    this.conv_norm_out = nn.groupNorm(s.groups, last, eps);
    this.conv_out = nn.conv2d(last, 2 * s.latentChannels, 3, { padding: 1 });
  }

  override forward(x: Tensor): Tensor {
    const h = this.down_blocks.reduce((h, block) => block.call(h, true), this.conv_in.call(x));
    return this.conv_out.call(this.conv_norm_out.call(this.mid_block.call(h, true), 'silu'));
  }
}

class Decoder extends Module<[z: Tensor], Tensor> {
  conv_in: Conv2d;
  mid_block: VaeMidBlock;
  up_blocks: VaeBlock[];
  conv_norm_out: GroupNorm;
  conv_out: Conv2d;

  constructor(s: VaeSettings) {
    super();
    const channels = s.channels.toReversed();
    this.conv_in = nn.conv2d(s.latentChannels, channels[0]!, 3, { padding: 1 });
    this.mid_block = new VaeMidBlock(channels[0]!, s.groups, s.midAttention);
    this.up_blocks = channels.map(
      (c, i) =>
        new VaeBlock(
          channels[Math.max(0, i - 1)]!,
          c,
          s.layers + 1,
          s.groups,
          i < channels.length - 1 ? 'up' : 'none',
        ),
    );
    this.conv_norm_out = nn.groupNorm(s.groups, channels.at(-1)!, eps);
    this.conv_out = nn.conv2d(channels.at(-1)!, s.outChannels, 3, { padding: 1 });
  }

  override forward(z: Tensor): Tensor {
    const h = [this.mid_block, ...this.up_blocks].reduce(
      (h, block) => block.call(h, true),
      this.conv_in.call(z),
    );
    return this.conv_out.call(this.conv_norm_out.call(h, 'silu'));
  }
}

/** A diagonal Gaussian over latents; all tensors [n, c, h, w]. */
export interface VaeDistribution {
  readonly mean: Tensor;
  /** Clamped to [-30, 20]. */
  readonly logvar: Tensor;
  readonly std: Tensor;
  /** mean + std · noise. */
  sample(noise: Tensor): Tensor;
  /** The mean. */
  mode(): Tensor;
}

/** The VAE of Stable Diffusion and SDXL. Reference: diffusers' class of the same name. */
export class AutoencoderKL extends ModelWithAttention<[image: Tensor], Tensor> {
  encoder: Encoder;
  decoder: Decoder;
  quant_conv?: Conv2d;
  post_quant_conv?: Conv2d;
  readonly config: ConfigRecord;
  readonly blockOutChannels: readonly number[];
  readonly scalingFactor: number;
  readonly #sampleSize: number;
  #slicing = false;
  #tiles: Tiles | undefined;

  /**
   * A model without weights. `source` names the config file in messages.
   * @throws FormatError for a bad or unknown value.
   */
  static fromConfig(config: ConfigRecord, source = 'vae config'): AutoencoderKL {
    const model = new AutoencoderKL(config, readVaeConfig(config, source));
    return checkParameterCount(model, source, 'block_out_channels and the other widths');
  }

  private constructor(config: ConfigRecord, s: VaeSettings) {
    super();
    this.name = 'vae';
    this.config = config;
    this.blockOutChannels = s.channels;
    this.scalingFactor = s.scalingFactor;
    this.#sampleSize = s.sampleSize;
    this.encoder = new Encoder(s);
    this.decoder = new Decoder(s);
    if (s.quantConv) this.quant_conv = nn.conv2d(2 * s.latentChannels, 2 * s.latentChannels, 1);
    if (s.postQuantConv) this.post_quant_conv = nn.conv2d(s.latentChannels, s.latentChannels, 1);
  }

  /** True if a batch is encoded and decoded one picture at a time. */
  get slicing(): boolean {
    return this.#slicing;
  }
  /** Size and stride of the tiles in latents; undefined without tiling. */
  get tiles(): Tiles | undefined {
    return this.#tiles;
  }

  /** Encodes and decodes one picture of a batch at a time: the same bits, memory independent of the batch. */
  enableSlicing(): void {
    this.#slicing = true;
  }
  /** Encodes and decodes a batch as a whole again. */
  disableSlicing(): void {
    this.#slicing = false;
  }

  /**
   * Encodes and decodes pictures larger than a tile in overlapping tiles, blended: memory independent of the size.
   * Norms and attention see one tile, so tones may differ a little between tiles. @throws ArgumentError for bad options
   */
  enableTiling(options: TilingOptions = {}): void {
    this.#tiles = tilesOf(options, this.#sampleSize, this.#scale);
  }
  /** Encodes and decodes whole pictures again. */
  disableTiling(): void {
    this.#tiles = undefined;
  }

  /** Pixels per latent. */
  get #scale(): number {
    return 2 ** (this.blockOutChannels.length - 1);
  }

  /** image [n, 3, h, w] in [-1, 1] → the distribution of its latents, not scaled. */
  encode(image: Tensor): VaeDistribution {
    return scope(() => {
      const moments = this.#inParts(image, this.#scale, 1, (x) => {
        const h = this.encoder.call(x);
        return this.quant_conv ? this.quant_conv.call(h) : h;
      });
      const [mean, raw] = moments.chunk(2, 1) as [Tensor, Tensor];
      const logvar = clamp(raw, -30, 20);
      const std = map(['exp', ['mul', 0.5, ['in', 0]]], [logvar]);
      return {
        mean,
        logvar,
        std,
        sample: (noise: Tensor) => map(['add', ['in', 0], ['mul', ['in', 1], ['in', 2]]], [mean, std, noise]),
        mode: () => mean,
      };
    });
  }

  /** z [n, c, h, w], divided by the scaling factor → image [n, 3, h·scale, w·scale], not clamped. */
  decode(z: Tensor): Tensor {
    return this.call(z);
  }

  /** The same as decode(). */
  override forward(z: Tensor): Tensor {
    return this.#inParts(z, 1, this.#scale, (x) =>
      this.decoder.call(this.post_quant_conv ? this.post_quant_conv.call(x) : x),
    );
  }

  /**
   * f of x, in slices and tiles if enabled. An edge of one latent is `unit` elements of x and `outUnit` of f's result.
   */
  #inParts(x: Tensor, unit: number, outUnit: number, f: (x: Tensor) => Tensor): Tensor {
    const tiles = this.#tiles;
    const [h, w] = [x.shape[2]!, x.shape[3]!];
    const tiling = tiles && Math.max(h, w) > tiles.size * unit;
    const one = tiling ? (item: Tensor) => tiled(item, tiles, unit, outUnit, f) : f;
    return this.#slicing ? sliced(x, one) : one(x);
  }
}

const oldNames: Readonly<Record<string, string>> = {
  query: 'to_q',
  key: 'to_k',
  value: 'to_v',
  proj_attn: 'to_out.0',
};

/** Converts keys of old checkpoints, whose attention layers are named query, key, value, proj_attn. */
export const convertVaeKeys: KeyConversion = renaming((key) =>
  key.replace(
    /(\.attentions\.\d+\.)(query|key|value|proj_attn)\./,
    (_, at: string, name: string) => `${at}${oldNames[name]!}.`,
  ),
);
