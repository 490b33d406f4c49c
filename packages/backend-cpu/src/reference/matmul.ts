// Reference kernel: matmul, the textbook sum in double precision.

import type { MatmulOp } from '@darkroom/core/backend';
import { at, broadcastStrides, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';
import { epilogue } from './shared/epilogue.ts';

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
