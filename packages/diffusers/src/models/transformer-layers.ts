// How many transformer layers stand behind each residual layer of a UNet. SD and SDXL give one number for all or one a
// level; SSD-1B and Vega, distilled from SDXL, a list a level with one for each residual layer, and another for going up.

import type { ConfigReader } from './config.ts';
import * as limits from './limits.ts';

export interface TransformerLayers {
  /** By level, then by residual layer; empty where the block has no attention. */
  readonly down: readonly (readonly number[])[];
  readonly mid: number;
  /** In the order of the up blocks, the lowest level first. */
  readonly up: readonly (readonly number[])[];
}

/** Residual layers with attention: by level, in the middle, by up block; 0 where a block has none. */
export interface AttentionCounts {
  readonly down: readonly number[];
  readonly mid: 0 | 1;
  readonly up: readonly number[];
}

const downKey = 'transformer_layers_per_block';
const upKey = 'reverse_transformer_layers_per_block';

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

/** One number for every residual layer of a block, or a list with at least one for each. */
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
