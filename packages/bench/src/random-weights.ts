// Weights of real size without a checkpoint: the same block of random numbers again and again, scaled so that
// activations stay finite. For timing and memory, never for pictures.

import { keep, zeros } from '@darkroom/core';
import { elementCount, encode } from '@darkroom/core/backend';
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
  for (const [, module] of model.namedModules()) {
    for (const [key, parameter] of [...module.ownParameters()]) {
      const weight = keep(zeros(parameter.shape, { device, dtype }));
      fill(weight, parameter.rank > 1 ? small : block, device);
      module.setParameter(key, weight);
    }
  }
}

/** Standard normal-like values for activations; large tensors repeat a block. */
export function randomTensor(shape: readonly number[], device: Device, dtype: DType = 'float32'): Tensor {
  const out = zeros(shape, { device, dtype });
  const values = Float32Array.from(
    { length: Math.min(elementCount(shape), blockElements) },
    () => Math.random() + Math.random() + Math.random() - 1.5,
  );
  fill(out, encode(values, dtype), device);
  return out;
}

function fill(tensor: Tensor, block: Uint8Array, device: Device): void {
  const { buffer } = tensor.storage('random');
  for (let offset = 0; offset < tensor.bytes; offset += block.byteLength) {
    const bytes = Math.min(block.byteLength, tensor.bytes - offset);
    device.backend.write({ buffer, offset, bytes }, block.subarray(0, bytes));
  }
}
