// The number of transformer layers behind each residual layer of a UNet. Configs of SD and SDXL give one number, or one
// for each level; SSD-1B and Vega, distilled from SDXL, give a list for each level, and other lists for the up blocks.

import type { ConfigReader } from './config.ts';
import * as limits from './limits.ts';

/** Numbers of transformer layers in a UNet. */
export interface TransformerLayers {
  /** By level, then by residual layer; empty for a block without attention. */
  readonly down: readonly (readonly number[])[];
  readonly mid: number;
  /** In the order of the up blocks, the lowest level first. */
  readonly up: readonly (readonly number[])[];
}

/** Numbers of residual layers with attention: by level, in the middle, by up block; 0 for a block without attention. */
export interface AttentionCounts {
  readonly down: readonly number[];
  readonly mid: 0 | 1;
  readonly up: readonly number[];
}

const downKey = 'transformer_layers_per_block';
const upKey = 'reverse_transformer_layers_per_block';

/** Reads both keys of the config. @throws FormatError if they do not fit `counts`. */
export function readTransformerLayers(c: ConfigReader, counts: AttentionCounts): TransformerLayers {
  const down = perLevel(c, downKey, counts.down.length);
  if (down.some(Array.isArray) && !c.has(upKey)) c.fail(upKey, `must be given beside lists in ${downKey}`);
  const upKeyUsed = c.has(upKey) ? upKey : downKey;
  const up = c.has(upKey) ? perLevel(c, upKey, counts.up.length) : down.toReversed();
  const layers = {
    down: counts.down.map((count, i) => perLayer(c, downKey, down[i], count)),
    mid: perLayer(c, downKey, down.at(-1), counts.mid)[0] ?? 0,
    up: counts.up.map((count, i) => perLayer(c, upKeyUsed, up[i], count)),
  };
  const total = [...layers.down, [layers.mid], ...layers.up].flat().reduce((a, b) => a + b, 0);
  if (total > limits.maxTransformerLayers)
    c.fail(downKey, `must give at most ${limits.maxTransformerLayers} layers in all (${total} here)`);
  return layers;
}

function perLevel(c: ConfigReader, key: string, levels: number): readonly unknown[] {
  const value = c.raw(key, 1);
  const list = Array.isArray(value) ? (value as unknown[]) : Array<unknown>(levels).fill(value);
  if (list.length !== levels || (key === upKey && !Array.isArray(value)))
    c.fail(key, `must be a list of ${levels}`);
  return list;
}

/** Transformer layers of a block's residual layers, from one number or a list of at least `count`. */
function perLayer(c: ConfigReader, key: string, entry: unknown, count: number): readonly number[] {
  const [min, max] = limits.transformerLayers;
  const list = Array.isArray(entry) ? (entry as unknown[]) : Array<unknown>(Math.max(1, count)).fill(entry);
  const fits = list.every((v) => Number.isInteger(v) && (v as number) >= min && (v as number) <= max);
  if (!fits || list.length < count)
    c.fail(
      key,
      `must hold integers from ${min} to ${max}, or lists of them, at least ${count} for a block of ${count} layers`,
    );
  return list.slice(0, count) as number[];
}
