// The toy family's second text encoder and its tokenizer: bytes, and the mean of their embeddings.

import { Module, nn, sum, tensor } from '@darkroom/core';
import type { Embedding, Tensor } from '@darkroom/core';
import { ConfigReader } from '../models/config.ts';
import type { ConfigRecord } from '../models/config.ts';

export class ByteTokenizer {
  readonly maxLength: number;

  constructor(maxLength: number) {
    this.maxLength = maxLength;
  }

  /** Bytes of the text, zeros after it. */
  encode(text: string): readonly number[] {
    const bytes = [...new TextEncoder().encode(text)].slice(0, this.maxLength);
    return [...bytes, ...Array<number>(this.maxLength - bytes.length).fill(0)];
  }
}

export class ByteEncoder extends Module<[ids: readonly (readonly number[])[]], Tensor> {
  embeddings: Embedding;
  readonly config: ConfigRecord;

  static fromConfig(config: ConfigRecord, source = 'text encoder config'): ByteEncoder {
    return new ByteEncoder(config, new ConfigReader(config, source).integer('hidden_size', [1, 4096]));
  }

  private constructor(config: ConfigRecord, width: number) {
    super();
    this.config = config;
    this.embeddings = nn.embedding(256, width);
  }

  /** Lists of ids, all of one length → [n, hidden_size]. */
  override forward(ids: readonly (readonly number[])[]): Tensor {
    const [n, length] = [ids.length, ids[0]!.length];
    const flat = tensor(ids.flat(), { shape: [n, length], dtype: 'int32', device: this.device! });
    return sum(this.embeddings.call(flat), { axes: [1], post: ['mul', ['in', 0], 1 / length] });
  }
}
