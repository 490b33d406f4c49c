// Reference kernel: gather, slices of a table by index.

import { ShapeError } from '@darkroom/core';
import type { GatherOp } from '@darkroom/core/backend';
import { at, forEachIndex } from './shared/access.ts';
import type { View } from './shared/access.ts';

export function gather(op: GatherOp, args: readonly View[]): void {
  const [table, ids, out] = args as [View, View, View];
  const { axis } = op;
  const k = table.shape[axis]!;
  const idRank = ids.shape.length;
  forEachIndex(out.shape, (index) => {
    const id = ids.get(at(ids.strides, index.slice(axis, axis + idRank)));
    if (id < 0 || id >= k) throw new ShapeError(`gather: id ${id} is outside the table's ${k} rows`);
    const from = [...index.slice(0, axis), id, ...index.slice(axis + idRank)];
    out.set(at(out.strides, index), table.get(at(table.strides, from)));
  });
}
