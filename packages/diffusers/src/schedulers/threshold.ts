// Dynamic thresholding of x0 (Saharia et al. 2022, Imagen, section 2.3).
// The quantile needs sorted values, so it is computed on the host: only where the device reads synchronously.

import { map, tensor, UnsupportedOpError } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

/** The q-quantile with linear interpolation; sorts `values` in place. */
export function quantile(values: Float32Array, q: number): number {
  values.sort();
  const at = Math.fround(q * (values.length - 1));
  const low = Math.floor(at);
  const [a, b] = [values[low]!, values[Math.min(low + 1, values.length - 1)]!];
  return a + (b - a) * (at - low);
}

/**
 * x0 [n, ...] limited to ±s and divided by s, where s is the `ratio` quantile of each item's magnitudes, held between
 * 1 and `max`.
 */
export function thresholdSample(x0: Tensor, ratio: number, max: number): Tensor {
  if (!x0.device.backend.caps.syncRead) {
    throw new UnsupportedOpError(
      `thresholding: needs a device that reads synchronously, and ${x0.device.backend.name} does not; set thresholding to false`,
    );
  }
  const n = x0.shape[0]!;
  const magnitudes = Float32Array.from(x0.dataSync(), Math.abs);
  const size = magnitudes.length / n;
  const limit = Array.from({ length: n }, (_, i) => {
    const q = quantile(magnitudes.slice(i * size, (i + 1) * size), ratio);
    return Math.fround(Math.min(Math.max(q, 1), max));
  });
  const s = tensor(limit, { shape: [n, ...x0.shape.slice(1).map(() => 1)], device: x0.device });
  return map(['div', ['min', ['max', ['in', 0], ['neg', ['in', 1]]], ['in', 1]], ['in', 1]], [x0, s], {
    dtype: x0.dtype,
  });
}
