// A model whose attention layers can be given strategies: all of them, or single ones by path.

import { ArgumentError, Module } from '@darkroom/core';
import { Attention } from './attention.ts';
import { isSliced, slicedAttention } from './attention-strategies.ts';
import type { AttentionStrategy } from './attention-strategies.ts';

/** 'auto': two steps a layer; 'max': one head at a time; n: so many heads at a time. */
export type AttentionSlice = 'auto' | 'max' | number;

export abstract class ModelWithAttention<Args extends readonly unknown[], Out> extends Module<Args, Out> {
  /** Strategy by path of the layer. */
  get attnProcessors(): Readonly<Record<string, AttentionStrategy>> {
    return Object.fromEntries([...this.#layers()].map(([path, layer]) => [path, layer.strategy]));
  }

  /** Sets one strategy for every layer, or those of the paths given. */
  setAttnProcessor(strategy: AttentionStrategy | Readonly<Record<string, AttentionStrategy>>): void {
    const layers = new Map(this.#layers());
    if (isStrategy(strategy)) {
      for (const layer of layers.values()) layer.strategy = strategy;
      return;
    }
    const unknown = Object.keys(strategy).find((path) => !layers.has(path));
    if (unknown !== undefined) {
      throw new ArgumentError(
        `setAttnProcessor: '${unknown}' is no attention layer; there are ${layers.size}, as ${[...layers.keys()][0] ?? 'none'}`,
      );
    }
    for (const [path, one] of Object.entries(strategy)) layers.get(path)!.strategy = one;
  }

  /** Slices what every layer computes, whatever its strategy; undefined undoes it. @throws naming a layer of too few heads. */
  setAttentionSlice(slice: AttentionSlice | undefined): void {
    const layers = [...this.#layers()];
    if (slice !== undefined) for (const [path, { heads }] of layers) headsPerSlice(slice, heads, path);
    for (const [path, layer] of layers) {
      const base = isSliced(layer.strategy) ? layer.strategy.inner : layer.strategy;
      layer.strategy =
        slice === undefined ? base : slicedAttention(headsPerSlice(slice, layer.heads, path), base);
    }
  }

  /** Replaces what every layer computes with; slicing stays as it is. */
  setBaseAttention(base: AttentionStrategy): void {
    for (const [, layer] of this.#layers()) {
      const { strategy } = layer;
      layer.strategy = isSliced(strategy) ? slicedAttention(strategy.headsPerSlice, base) : base;
    }
  }

  *#layers(): Generator<[string, Attention]> {
    for (const [path, module] of this.namedModules()) if (module instanceof Attention) yield [path, module];
  }
}

function isStrategy(value: object): value is AttentionStrategy {
  return 'run' in value && typeof value.run === 'function';
}

function headsPerSlice(slice: AttentionSlice, heads: number, path: string): number {
  if (slice === 'auto') return Math.max(1, Math.floor(heads / 2));
  if (slice === 'max') return 1;
  if (!Number.isInteger(slice) || slice < 1)
    throw new ArgumentError(
      `attention slice: must be 'auto', 'max' or an integer >= 1, got ${String(slice)}`,
    );
  if (slice > heads)
    throw new ArgumentError(`attention slice: ${slice} is more than the ${heads} heads of ${path}`);
  return slice;
}
