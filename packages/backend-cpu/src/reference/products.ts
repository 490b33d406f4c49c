// Reference kernels: matmul, conv2d, attention, as the textbook sums in double precision.

import type { AttentionOp, Conv2dOp, MatmulOp } from '@darkroom/core';
import { at, broadcastStrides, forEachIndex } from './access.ts';
import type { View } from './access.ts';
import { epilogue } from './pointwise.ts';

export function matmul(op: MatmulOp, args: readonly View[]): void {
  const [a, b] = args as [View, View];
  const out = args.at(-1)!;
  const k = a.shape.at(-1)!;
  const finish = epilogue(op.epilogue, args.slice(2, -1), out.shape);
  const batch = out.shape.slice(0, -2);
  const aStrides = [
    ...broadcastStrides({ ...a, shape: a.shape.slice(0, -2), strides: a.strides.slice(0, -2) }, batch),
    a.strides.at(-2)!,
    0,
  ];
  const bStrides = [
    ...broadcastStrides({ ...b, shape: b.shape.slice(0, -2), strides: b.strides.slice(0, -2) }, batch),
    0,
    b.strides.at(-1)!,
  ];
  const [ak, bk] = [a.strides.at(-1)!, b.strides.at(-2)!];
  forEachIndex(out.shape, (index) => {
    const [ai, bi] = [at(aStrides, index), at(bStrides, index)];
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a.get(ai + i * ak) * b.get(bi + i * bk);
    out.set(at(out.strides, index), finish(sum, index));
  });
}

export function conv2d(op: Conv2dOp, args: readonly View[]): void {
  const [x, weight] = args as [View, View];
  const out = args.at(-1)!;
  const [, , h, w] = x.shape as [number, number, number, number];
  const [o, cg, kh, kw] = weight.shape as [number, number, number, number];
  const perGroup = o / op.groups;
  const [sn, sc, sh, sw] = x.strides as [number, number, number, number];
  const [wo, wc, wh, ww] = weight.strides as [number, number, number, number];
  const finish = epilogue(op.epilogue, args.slice(2, -1), out.shape);
  forEachIndex(out.shape, (index) => {
    const [ni, oi, yi, xi] = index as [number, number, number, number];
    const c0 = Math.floor(oi / perGroup) * cg;
    let sum = 0;
    for (let r = 0; r < kh; r++) {
      const y = yi * op.stride[0] - op.padding[0] + r * op.dilation[0];
      if (y < 0 || y >= h) continue;
      for (let s = 0; s < kw; s++) {
        const xx = xi * op.stride[1] - op.padding[2] + s * op.dilation[1];
        if (xx < 0 || xx >= w) continue;
        for (let c = 0; c < cg; c++) {
          sum +=
            x.get(ni * sn + (c0 + c) * sc + y * sh + xx * sw) *
            weight.get(oi * wo + c * wc + r * wh + s * ww);
        }
      }
    }
    out.set(at(out.strides, index), finish(sum, index));
  });
}

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
