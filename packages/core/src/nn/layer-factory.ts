// What models make their layers with. A program that wants other layers in a model (with quantised weights, with adapters)
// builds it inside withLayers(); no model file says which.

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

/** What models call in their constructors: `nn.linear(320, 640)`, from the factory in use. */
export const nn: LayerFactory = {
  linear: (...args) => current.linear(...args),
  conv2d: (...args) => current.conv2d(...args),
  groupNorm: (...args) => current.groupNorm(...args),
  layerNorm: (...args) => current.layerNorm(...args),
  embedding: (...args) => current.embedding(...args),
};

/**
 * What `build` returns, with layers from `factory`; kinds that it does not make come from the factory around it.
 * `build` is synchronous, as constructors are.
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
