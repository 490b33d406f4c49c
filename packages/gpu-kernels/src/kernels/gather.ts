// gather: slices of a table by index along an axis.

import type { ArgSpec, GatherOp } from '@darkroom/core/backend';
import { Shader } from '../text/shader.ts';
import type { KernelFactory } from './kernel.ts';
import { flatBody } from './shared/flat.ts';

/** Ids outside the table give NaN (0 in integers): a device cannot throw. */
export const gather: KernelFactory<GatherOp> = {
  choices: () => ['wgsl'],
  prepare(op, args, _, traits) {
    const [table, ids, out] = args as [ArgSpec, ArgSpec, ArgSpec];
    const { axis } = op;
    const idRank = ids.layout.shape.length;
    const s = new Shader(traits, 'gather/wgsl', args);
    const [t, d, y] = [s.read(0), s.read(1), s.write(2)];
    const { shape } = out.layout;
    const tableStrides = shape.map((_n, i) =>
      i < axis ? table.layout.strides[i]! : i < axis + idRank ? 0 : table.layout.strides[i - idRank + 1]!,
    );
    const idStrides = shape.map((_n, i) =>
      i >= axis && i < axis + idRank ? ids.layout.strides[i - axis]! : 0,
    );
    const rows = s.u32('rows', table.layout.shape[axis]!);
    const body = `let id = i32(${d.get(s.dot('d', 'i', idStrides))});
  let source = ${s.dot('t', 'i', tableStrides)} + u32(clamp(id, 0, i32(${rows}) - 1)) * ${s.u32('row', table.layout.strides[axis]!)};
  let found = id >= 0 && u32(id) < ${rows};
  ${y.set(s.dot('y', 'i', out.layout.strides), `select(bitcast<f32>(${s.u32('nan', 0x7fc00000)}), ${t.get('source')}, found)`)}`;
    if (shape.length === 0) {
      return { dispatches: [flatBody(s, [1], body)] };
    }
    return { dispatches: [flatBody(s, shape, body)] };
  },
};
