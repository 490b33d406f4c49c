// Classifier-free guidance and its rescaling, one pointwise op each (plus two reductions for the standard deviations).

import { map, scope, sum } from '@darkroom/core';
import type { Tensor } from '@darkroom/core';

/** Classifier-free guidance: uncond + scale · (text - uncond); both predictions [n, c, h, w]. */
export function guide(uncond: Tensor, text: Tensor, scale: number): Tensor {
  return map(['add', ['in', 0], ['mul', ['scalar', 0], ['sub', ['in', 1], ['in', 0]]]], [uncond, text], {
    scalars: [scale],
  });
}

/**
 * The guided prediction `cfg` scaled to the standard deviation of the text prediction, mixed with `cfg` by `rescale`
 * (0: `cfg` alone, 1: rescaled). Deviations are over all axes but the first, unbiased. Reference: Lin et al. 2023, 3.4.
 */
export function rescaleGuidance(cfg: Tensor, text: Tensor, rescale: number): Tensor {
  return scope(() => {
    const ratio = map(['sqrt', ['div', ['in', 0], ['in', 1]]], [squares(text), squares(cfg)]); // n - 1 cancels
    return map(
      [
        'add',
        ['mul', ['scalar', 0], ['mul', ['in', 0], ['in', 1]]],
        ['mul', ['sub', 1, ['scalar', 0]], ['in', 0]],
      ],
      [cfg, ratio],
      { scalars: [rescale], dtype: cfg.dtype },
    );
  });
}

/** Sum of squared deviations from the mean over all axes but the first, kept as [n, 1, 1, 1], in float32. */
function squares(x: Tensor): Tensor {
  const axes = x.shape.map((_, i) => i).slice(1);
  const n = x.elements / x.shape[0]!;
  const wide = map(['in', 0], [x], { dtype: 'float32' });
  const mean = sum(wide, { axes, keepDims: true, post: ['mul', ['in', 0], 1 / n] });
  const centred = map(['sub', ['in', 0], ['in', 1]], [wide, mean]);
  return sum(centred, { axes, keepDims: true, pre: ['mul', ['in', 0], ['in', 0]] });
}

/** The guidance scale as `size` sinusoids, for distilled models that read it (LCM). */
export function guidanceEmbedding(size: number, guidanceScale: number): Float32Array {
  const w = (guidanceScale - 1) * 1000;
  const half = Math.floor(size / 2);
  const row = new Float32Array(size);
  for (let k = 0; k < half; k++) {
    const angle = w * Math.exp((-Math.log(10000) * k) / (half - 1));
    row[k] = Math.sin(angle);
    row[half + k] = Math.cos(angle);
  }
  return row;
}
