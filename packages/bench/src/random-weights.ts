// Weights of real size without a checkpoint: the same block of random numbers again and again, scaled so that
// activations stay finite. For timing and memory, never for pictures.

import { elementCount, encode, keep, zeros } from '@darkroom/core';
import type { AnyModule, Device, DType, Tensor } from '@darkroom/core';

const blockElements = 1 << 20;

export function randomWeights(model: AnyModule, device: Device, dtype: DType = 'float32'): void {
  const block = encode(
    Float32Array.from({ length: blockElements }, () => Math.random() - 0.5),
    dtype,
  );
  const small = encode(
    Float32Array.from({ length: blockElements }, () => (Math.random() - 0.5) * 0.06),
    dtype,
  );
  const bytesPerElement = block.byteLength / blockElements;
  for (const [, module] of model.namedModules()) {
    for (const [key, parameter] of [...module.ownParameters()]) {
      const weight = keep(zeros(parameter.shape, { device, dtype }));
      const source = parameter.rank > 1 ? small : block;
      const total = elementCount(parameter.shape) * bytesPerElement;
      const { buffer } = weight.storage('random weights');
      for (let at = 0; at < total; at += source.byteLength) {
        const bytes = Math.min(source.byteLength, total - at);
        device.backend.write({ buffer, offset: at, bytes }, source.subarray(0, bytes));
      }
      module.setParameter(key, weight);
    }
  }
}

/** Standard normal-like values for activations. */
export function randomTensor(shape: readonly number[], device: Device, dtype: DType = 'float32'): Tensor {
  const out = zeros(shape, { device, dtype });
  const values = Float32Array.from(
    { length: elementCount(shape) },
    () => Math.random() + Math.random() + Math.random() - 1.5,
  );
  device.backend.write(
    { buffer: out.storage('random').buffer, offset: 0, bytes: out.bytes },
    encode(values, dtype),
  );
  return out;
}
