// Reference kernel: random, Philox numbers as uniform or normal values.

import { philox } from '@darkroom/core/backend';
import type { RandomOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function random(op: RandomOp, args: readonly View[], [seed0, seed1, offset]: readonly number[]): void {
  const out = args[0]!;
  const words = new Uint32Array(4);
  let i = 0;
  forEachIndex(out.shape, (index) => {
    const lane = i % 4;
    if (lane === 0) philox(offset! + i / 4, seed0!, seed1!, words);
    out.set(
      at(out.strides, index),
      op.distribution === 'uniform' ? (words[lane]! >>> 8) * 2 ** -24 : normal(words, lane),
    );
    i++;
  });
}

function normal(words: Uint32Array, lane: number): number {
  const [a, b] = lane < 2 ? [words[0]!, words[1]!] : [words[2]!, words[3]!];
  const r = Math.sqrt(-2 * Math.log((a + 1) * 2 ** -32));
  const angle = 2 * Math.PI * b * 2 ** -32;
  return r * (lane % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
}
