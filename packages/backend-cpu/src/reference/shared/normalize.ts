// Mean and deviation of the reference norms.

import { at, forEachIndex } from './access.ts';
import type { View } from './access.ts';

/**
 * Subtracts the mean (`centred`), or not, and divides by the deviation, in place. Reads the elements twice, in double
 * precision.
 */
export function normalize(values: Float64Array, eps: number, centred: boolean): void {
  let mean = 0;
  if (centred) {
    for (const v of values) mean += v;
    mean /= values.length;
  }
  let square = 0;
  for (const v of values) square += (v - mean) ** 2;
  const scale = 1 / Math.sqrt(square / values.length + eps);
  for (let i = 0; i < values.length; i++) values[i] = (values[i]! - mean) * scale;
}

/** Normalises x along its last axis; arguments are x, weight, bias (both optional) and the output. */
export function lastAxisNorm(args: readonly View[], eps: number, centred: boolean): void {
  const x = args[0]!;
  const out = args.at(-1)!;
  const [weight, bias] = args.slice(1, -1);
  const d = x.shape.at(-1)!;
  const values = new Float64Array(d);
  forEachIndex([...x.shape.slice(0, -1), d === 0 ? 0 : 1], (base) => {
    const [xi, oi] = [at(x.strides, base), at(out.strides, base)];
    for (let i = 0; i < d; i++) values[i] = x.get(xi + i * x.strides.at(-1)!);
    normalize(values, eps, centred);
    for (let i = 0; i < d; i++) {
      let v = values[i]!;
      if (weight) v *= weight.get(i * weight.strides[0]!);
      if (bias) v += bias.get(i * bias.strides[0]!);
      out.set(oi + i * out.strides.at(-1)!, v);
    }
  });
}
