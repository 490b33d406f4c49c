// The factory that models make their layers with. A program that wants other layers in a model (quantised weights,
// adapters) builds the model inside withLayers(); model files stay as they are.

import { Conv2d, Embedding, GroupNorm, LayerNorm, Linear } from './layers.ts';
import type { ConvLayerOptions, LinearOptions } from './layers.ts';

/** Makes layers from their sizes; arguments are those of the classes. */
export interface LayerFactory {
  linear(inFeatures: number, outFeatures: number, options?: LinearOptions): Linear;
  conv2d(inChannels: number, outChannels: number, kernel: number, options?: ConvLayerOptions): Conv2d;
  groupNorm(groups: number, channels: number, eps?: number): GroupNorm;
  layerNorm(size: number, eps?: number): LayerNorm;
  embedding(count: number, size: number): Embedding;
}

/** The layers as they are, with dense weights. */
export const plainLayers: LayerFactory = {
  linear: (...args) => new Linear(...args),
  conv2d: (...args) => new Conv2d(...args),
  groupNorm: (...args) => new GroupNorm(...args),
  layerNorm: (...args) => new LayerNorm(...args),
  embedding: (...args) => new Embedding(...args),
};

let current = plainLayers;

/** The factory in use, for constructors of models: `nn.linear(320, 640)`. */
export const nn: LayerFactory = {
  linear: (...args) => current.linear(...args),
  conv2d: (...args) => current.conv2d(...args),
  groupNorm: (...args) => current.groupNorm(...args),
  layerNorm: (...args) => current.layerNorm(...args),
  embedding: (...args) => current.embedding(...args),
};

/**
 * Runs `build` with layers from `factory` and returns its result; kinds that `factory` lacks come from the outer
 * factory. `build` is synchronous, as constructors are.
 */
export function withLayers<T>(factory: Partial<LayerFactory>, build: () => T): T {
  const outer = current;
  current = { ...outer, ...factory };
  try {
    return build();
  } finally {
    current = outer;
  }
}
