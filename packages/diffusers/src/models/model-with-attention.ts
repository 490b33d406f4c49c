// A model whose attention layers accept processors and strategies, all of them or single ones by path.

import { ArgumentError, Module } from '@darkroom/core';
import { plainProcessor } from './attention-processor.ts';
import type { AttentionProcessor } from './attention-processor.ts';
import { Attention } from './attention.ts';
import { isSliced, slicedAttention } from './attention-strategies.ts';
import type { AttentionStrategy } from './attention-strategies.ts';

/** Heads computed at a time: 'auto' half of a layer's, 'max' one, or a number. */
export type AttentionSlice = 'auto' | 'max' | number;

/** Base of models with attention layers: UNet and VAE. */
export abstract class ModelWithAttention<Args extends readonly unknown[], Out> extends Module<Args, Out> {
  /**
   * The processor of each attention layer by path; the strategy for layers with the plain processor. The result can be
   * passed to setAttnProcessor.
   */
  get attnProcessors(): Readonly<Record<string, AttentionProcessor | AttentionStrategy>> {
    const entries = [...this.#layers()].map(
      ([path, { processor, strategy }]) =>
        [path, processor === plainProcessor ? strategy : processor] as const,
    );
    return Object.fromEntries(entries);
  }
  /** The strategy of each attention layer by path. */
  get attnStrategies(): Readonly<Record<string, AttentionStrategy>> {
    return Object.fromEntries([...this.#layers()].map(([path, layer]) => [path, layer.strategy]));
  }

  /**
   * Sets the processor or strategy of every attention layer, or of layers by path. A processor keeps the layer's
   * strategy; a strategy restores the plain processor.
   * @throws ArgumentError for a path that is no attention layer, and for a processor with weights given to two layers
   */
  setAttnProcessor(
    given:
      | AttentionProcessor
      | AttentionStrategy
      | Readonly<Record<string, AttentionProcessor | AttentionStrategy>>,
  ): void {
    const layers = new Map(this.#layers());
    const byPath = isOne(given) ? Object.fromEntries([...layers.keys()].map((path) => [path, given])) : given;
    const unknown = Object.keys(byPath).find((path) => !layers.has(path));
    if (unknown !== undefined) {
      throw new ArgumentError(
        `setAttnProcessor: '${unknown}' is no attention layer; there are ${layers.size}, as ${[...layers.keys()][0] ?? 'none'}`,
      );
    }
    const withWeights = Object.values(byPath).filter((one) => one instanceof Module);
    if (new Set(withWeights).size < withWeights.length)
      throw new ArgumentError(
        'setAttnProcessor: a processor with weights is for one layer; make one for each',
      );
    for (const [path, one] of Object.entries(byPath)) {
      const layer = layers.get(path)!;
      layer.processor = isStrategy(one) ? plainProcessor : one;
      if (isStrategy(one)) layer.strategy = one;
    }
  }

  /**
   * Slices the strategy of every layer; undefined restores it.
   * @throws ArgumentError naming a layer with too few heads
   */
  setAttentionSlice(slice: AttentionSlice | undefined): void {
    const layers = [...this.#layers()];
    if (slice !== undefined) for (const [path, { heads }] of layers) headsPerSlice(slice, heads, path);
    for (const [path, layer] of layers) {
      const base = isSliced(layer.strategy) ? layer.strategy.inner : layer.strategy;
      layer.strategy =
        slice === undefined ? base : slicedAttention(headsPerSlice(slice, layer.heads, path), base);
    }
  }

  /** Replaces the strategy of every layer; layers with slicing keep it. */
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
function isOne(value: object): value is AttentionProcessor | AttentionStrategy {
  return isStrategy(value) || ('call' in value && typeof value.call === 'function');
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
