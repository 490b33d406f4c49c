// gather and nearest resize: they only move elements, so they move raw bits in plain loops over typed arrays.

import { ShapeError } from '@darkroom/core';
import type { ArgSpec, DType, GatherOp, ResizeOp } from '@darkroom/core';
import { nearestSource } from '../reference/moves.ts';
import type { Engine } from '../simd/engine.ts';
import { sizeOf } from '../simd/elements.ts';
import type { Factory } from './kernel.ts';

type Bits = Uint32Array | Uint16Array | Uint8Array;

function bits(engine: Engine, dtype: DType, at: number): Bits {
  const { buffer } = engine.memory;
  const size = sizeOf[dtype];
  const words = (buffer.byteLength - at) / size;
  if (size === 4) return new Uint32Array(buffer, at, Math.floor(words));
  return size === 2 ? new Uint16Array(buffer, at, Math.floor(words)) : new Uint8Array(buffer, at);
}

const contiguousFrom = (spec: ArgSpec, axis: number): boolean => {
  let step = 1;
  for (let i = spec.layout.shape.length - 1; i >= axis; i--) {
    if (spec.layout.shape[i] !== 1 && spec.layout.strides[i] !== step) return false;
    step *= spec.layout.shape[i]!;
  }
  return true;
};

/** Rows of a table by index (axis 0), rows contiguous: embeddings. */
export const gatherFactory: Factory<GatherOp> = {
  choices(op, [table, ids, out]) {
    return op.axis === 0 && contiguousFrom(table!, 1) && contiguousFrom(ids!, 0) && contiguousFrom(out!, 0)
      ? ['rows']
      : [];
  },
  prepare(engine, _, args) {
    const [table, ids] = args as [ArgSpec, ArgSpec, ArgSpec];
    const [count, ...rest] = table.layout.shape as [number, ...number[]];
    const width = rest.reduce((a, b) => a * b, 1);
    const step = table.layout.strides[0]!;
    const n = ids.layout.shape.reduce((a, b) => a * b, 1);
    return ([t, i, o]) => {
      const [from, index, to] = [
        bits(engine, table.dtype, t!),
        new Int32Array(engine.memory.buffer, i!, n),
        bits(engine, table.dtype, o!),
      ];
      for (let r = 0; r < n; r++) {
        const id = index[r]!;
        if (id < 0 || id >= count)
          throw new ShapeError(`gather: id ${id} is outside the table's ${count} rows`);
        to.set(from.subarray(id * step, id * step + width), r * width);
      }
    };
  },
};

export const resizeFactory: Factory<ResizeOp> = {
  choices: (op) => (op.mode === 'nearest' ? ['bits'] : []),
  prepare(engine, _, args) {
    const [x, y] = args as [ArgSpec, ArgSpec];
    const [n, c, h, w] = x.layout.shape as [number, number, number, number];
    const [, , oh, ow] = y.layout.shape as [number, number, number, number];
    const [sn, sc, sh, sw] = x.layout.strides as [number, number, number, number];
    const [dn, dc, dh, dw] = y.layout.strides as [number, number, number, number];
    const rows = Int32Array.from({ length: oh }, (_, i) => nearestSource(i, h, oh) * sh);
    const columns = Int32Array.from({ length: ow }, (_, i) => nearestSource(i, w, ow) * sw);
    // The innermost loop runs over what is contiguous in the output.
    const last = dc === 1 && c > 1;
    return ([px, py]) => {
      const [from, to] = [bits(engine, x.dtype, px!), bits(engine, y.dtype, py!)];
      for (let ni = 0; ni < n; ni++) {
        for (let outer = 0; outer < (last ? 1 : c); outer++) {
          for (let yi = 0; yi < oh; yi++) {
            const source = ni * sn + outer * sc + rows[yi]!;
            const target = ni * dn + outer * dc + yi * dh;
            for (let xi = 0; xi < ow; xi++) {
              const s = source + columns[xi]!;
              const d = target + xi * dw;
              if (last) for (let ci = 0; ci < c; ci++) to[d + ci] = from[s + ci * sc]!;
              else to[d] = from[s]!;
            }
          }
        }
      }
    };
  },
};
