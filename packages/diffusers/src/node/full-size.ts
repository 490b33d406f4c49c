// Configs of the published models, without keys at their defaults, for tests that count and plan.

type Config = Readonly<Record<string, unknown>>;

const crossAttention = (n: number, kind: string): string[] =>
  Array.from({ length: n }, () => `CrossAttn${kind}Block2D`);

export const sd15UNet: Config = {
  block_out_channels: [320, 640, 1280, 1280],
  down_block_types: [...crossAttention(3, 'Down'), 'DownBlock2D'],
  up_block_types: ['UpBlock2D', ...crossAttention(3, 'Up')],
  cross_attention_dim: 768,
  attention_head_dim: 8,
};
export const sd21UNet: Config = {
  ...sd15UNet,
  cross_attention_dim: 1024,
  attention_head_dim: [5, 10, 20, 20],
  use_linear_projection: true,
  upcast_attention: true,
};
export const sdxlUNet: Config = {
  block_out_channels: [320, 640, 1280],
  down_block_types: ['DownBlock2D', ...crossAttention(2, 'Down')],
  up_block_types: [...crossAttention(2, 'Up'), 'UpBlock2D'],
  cross_attention_dim: 2048,
  attention_head_dim: [5, 10, 20],
  transformer_layers_per_block: [1, 2, 10],
  use_linear_projection: true,
  addition_embed_type: 'text_time',
  addition_time_embed_dim: 256,
  projection_class_embeddings_input_dim: 2816,
};
/** Distilled from SDXL: transformer layers by residual layer, other ones going up, no attention in the middle. */
export const ssd1bUNet: Config = {
  ...sdxlUNet,
  mid_block_type: 'UNetMidBlock2D',
  transformer_layers_per_block: [1, [2, 2], [4, 4]],
  reverse_transformer_layers_per_block: [[4, 4, 10], [2, 1, 1], 1],
};
export const vegaUNet: Config = {
  ...ssd1bUNet,
  transformer_layers_per_block: [1, [1, 1], [2, 2]],
  reverse_transformer_layers_per_block: [[2, 2, 2], [1, 1, 1], 1],
};
export const vae: Config = {
  block_out_channels: [128, 256, 512, 512],
  down_block_types: Array.from({ length: 4 }, () => 'DownEncoderBlock2D'),
  up_block_types: Array.from({ length: 4 }, () => 'UpDecoderBlock2D'),
  layers_per_block: 2,
};
/** SD 1.5's text encoder, and SDXL's first. */
export const clipL: Config = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
};
/** SDXL's second. */
export const clipG: Config = {
  hidden_size: 1280,
  intermediate_size: 5120,
  num_hidden_layers: 32,
  num_attention_heads: 20,
  hidden_act: 'gelu',
  projection_dim: 1280,
};
