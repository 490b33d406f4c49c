// Weights and inputs of reference cases, derived from their names instead of stored; the same numbers as in
// scripts/make-config-fixtures.py.

import { keep, tensor } from '@darkroom/core';
import type { AnyModule, Device, Tensor } from '@darkroom/core';

/** `count` numbers in [-1, 1): FNV-1a of the name, then murmur's finalizer of a counter. */
function hashed(name: string, count: number): Float64Array {
  let seed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 0x01000193);
  return Float64Array.from({ length: count }, (_, i) => {
    let x = seed + Math.imul(i, 0x9e3779b9);
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 8) / 2 ** 23 - 1;
  });
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * Gives every parameter of `model` values derived from its name: biases near 0, scales near 1, matrices that keep
 * norms.
 */
export function derivedWeights<M extends AnyModule>(model: M, device: Device): M {
  for (const [path, module] of model.namedModules()) {
    for (const [key, { shape }] of [...module.ownParameters()]) {
      const name = path === '' ? key : `${path}.${key}`;
      const count = product(shape);
      const scale = shape.length === 1 ? 0.3 : Math.sqrt((3 * shape[0]!) / count);
      const centre = shape.length === 1 && !name.endsWith('bias') ? 1 : 0;
      const values = Float32Array.from(hashed(name, count), (v) => centre + scale * v);
      module.setParameter(key, keep(tensor(values, { shape, device })));
    }
  }
  return model;
}

/** The input of a reference case, by its name: values in [-1, 1); `time_ids` are integers within ±100. */
export function derivedInput(name: string, shape: readonly number[], device: Device): Tensor {
  const values = Float32Array.from(hashed(`input ${name}`, product(shape)));
  return tensor(name === 'time_ids' ? values.map((v) => roundToEven(v * 100)) : values, { shape, device });
}

function roundToEven(v: number): number {
  const near = Math.round(v);
  return Math.abs(v % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}
