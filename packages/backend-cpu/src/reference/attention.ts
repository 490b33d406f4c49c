// Reference kernel: attention, scores and weighted sums of one query at a time in double precision.

import type { AttentionOp } from '@darkroom/core/backend';
import { at, broadcastStrides, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function attention(op: AttentionOp, args: readonly View[]): void {
  const [q, k, v] = args as [View, View, View];
  const out = args.at(-1)!;
  const mask = op.mask === 'additive' ? args[3]! : undefined;
  const [b, heads, l, d] = q.shape as [number, number, number, number];
  const s = k.shape[2]!;
  const maskStrides = mask && broadcastStrides(mask, [b, heads, l, s]);
  const scores = new Float64Array(s);
  forEachIndex([b, heads, l], (index) => {
    const [bi, hi, li] = index as [number, number, number];
    const qi = at(q.strides, index);
    let highest = -Infinity;
    for (let j = 0; j < s; j++) {
      let score = 0;
      const ki = at(k.strides, [bi, hi, j]);
      for (let e = 0; e < d; e++) score += q.get(qi + e * q.strides[3]!) * k.get(ki + e * k.strides[3]!);
      score *= op.scale;
      if (mask) score += mask.get(at(maskStrides!, [bi, hi, li, j]));
      if (op.mask === 'causal' && j > li) score = -Infinity;
      scores[j] = score;
      highest = Math.max(highest, score);
    }
    let total = 0;
    for (let j = 0; j < s; j++) total += scores[j] = Math.exp(scores[j]! - highest);
    for (let e = 0; e < d; e++) {
      let sum = 0;
      for (let j = 0; j < s; j++) sum += scores[j]! * v.get(at(v.strides, [bi, hi, j, e]));
      out.set(at(out.strides, [bi, hi, li, e]), s === 0 ? 0 : sum / total);
    }
  });
}
