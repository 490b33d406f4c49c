// A fast kernel where it pays: rows of a dense float32 tensor move whole.

import type { Factory } from '@darkroom/backend-cpu';
import { isContiguous } from '@darkroom/core/backend';
import type { ArgSpec } from '@darkroom/core/backend';
import type { RollOp } from './roll.ts';

export const rollFactory: Factory<RollOp> = {
  choices: (_, [x]) => (x!.dtype === 'float32' && isContiguous(x!.layout) ? ['rows'] : []),
  prepare(engine, { axis, shift }, args) {
    const { shape } = (args[0] as ArgSpec).layout;
    const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const block = inner * shape[axis]!;
    const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
    const head = inner * shift;
    return ([x, y]) => {
      const { buffer } = engine.memory;
      const from = new Float32Array(buffer, x!, outer * block);
      const to = new Float32Array(buffer, y!, outer * block);
      for (let at = 0; at < outer * block; at += block) {
        to.set(from.subarray(at + block - head, at + block), at);
        to.set(from.subarray(at, at + block - head), at + head);
      }
    };
  },
};
