// Weighted sums of tensors: the form that nearly every scheduler step has, one pointwise op each.
// A Terms list is plain data, so steps can be composed (prediction → x0 → previous sample) before anything runs.

import { linearCombination } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

export type Term = readonly [tensor: Tensor, coefficient: number];
export type Terms = readonly Term[];

/** Σ coefficient · tensor, computed in float32, in the dtype of the first tensor. Terms of coefficient 0 are left out. */
export function combine(terms: Terms): Tensor {
  const merged = new Map<Tensor, number>();
  for (const [tensor, coefficient] of terms) merged.set(tensor, (merged.get(tensor) ?? 0) + coefficient);
  const used = [...merged].filter(([, coefficient]) => coefficient !== 0);
  const list = used.length > 0 ? used : [...merged].slice(0, 1);
  return linearCombination(
    list.map(([tensor]) => tensor),
    list.map(([, coefficient]) => coefficient),
  );
}

export function scaled(terms: Terms, factor: number): Terms {
  return terms.map(([tensor, coefficient]) => [tensor, coefficient * factor]);
}
