// Norms over rows that lie in quads: a row stays in the registers of its lanes, so that memory is read once.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec } from '@darkroom/core/backend';
import { Shader } from '../../text/shader.ts';
import type { Traits } from '../../text/dispatch.ts';
import type { KernelSpec } from '../kernel.ts';
import { acrossLanes, rowSpace } from './rows.ts';

/** Invocations of a workgroup; rows of fewer lanes share it. */
const threads = 128;
/** Quads that a lane holds, at most, of rows that fewer lanes than the widest row's share. */
const heldQuads = 6;
/** Lanes of the widest row. */
const mostLanes = 256;

/** Lanes for a row of `quads`: a subgroup where that suffices. */
function lanesFor(quads: number): number {
  let lanes = 1;
  while (lanes < Math.min(32, quads)) lanes *= 2;
  while (lanes < mostLanes && quads > lanes * heldQuads) lanes *= 2;
  return lanes;
}

/** True if rows of `args` (the last axis of x and the result, weight, bias) lie in quads that registers hold. */
export function inQuadRows(args: readonly ArgSpec[], traits: Traits): boolean {
  const [x, out] = [args[0]!, args.at(-1)!];
  const length = x.layout.shape.at(-1)!;
  const rows = ({ layout: { strides } }: ArgSpec): boolean =>
    strides.at(-1) === 1 && strides.slice(0, -1).every((stride) => stride % 4 === 0);
  return (
    length > 0 &&
    length % 4 === 0 &&
    length / 4 <= mostLanes * heldQuads &&
    lanesFor(length / 4) <= traits.invocations &&
    rows(x) &&
    rows(out) &&
    args.slice(1, -1).every((a) => a.layout.strides[0] === 1)
  );
}

/** layerNorm (`centred`) or rmsNorm of args for which inQuadRows holds and whose slices start at whole quads. */
export function quadRowNorm(
  label: string,
  eps: number,
  centred: boolean,
  args: readonly ArgSpec[],
  traits: Traits,
): KernelSpec {
  const { layout } = args[0]!;
  const out = args.at(-1)!;
  const length = layout.shape.at(-1)!;
  const lanes = lanesFor(length / 4);
  const held = Math.ceil(length / 4 / lanes);
  const group = Math.max(threads, lanes);
  const count = elementCount(layout.shape) / length;
  if (count === 0) return { dispatches: [] };
  const s = new Shader(traits, label, args);
  const x = s.read(0, 4);
  const affine = args.slice(1, -1).map((_, i) => s.read(i + 1, 4));
  const y = s.write(args.length - 1, 4);
  acrossLanes(s, 'row_sum', lanes, group, 'a + b');
  const { rows } = rowSpace(layout.shape, [layout.strides, out.layout.strides], [layout.shape.length - 1]);
  const inQuads = (strides: readonly number[]): readonly number[] => strides.map((stride) => stride / 4);
  const [total, quads] = [s.u32('rows', count), s.u32('quads', length / 4)];
  // Only the last quad of a lane may lie past the row's end.
  const ragged = (length / 4) % lanes !== 0;
  const inside = (i: number): string => (ragged && i === held - 1 ? `at${i} < ${quads}` : 'true');
  const each = (text: (i: number) => string): string =>
    Array.from({ length: held }, (_, i) => text(i)).join('\n  ');
  const square = (i: number): string => {
    const value = centred ? `v${i} - vec4<f32>(mean)` : `v${i}`;
    const c = inside(i) === 'true' ? value : `select(vec4<f32>(), ${value}, ${inside(i)})`;
    return `let c${i} = ${c}; square += dot(c${i}, c${i});`;
  };
  const store = (i: number): string => {
    const value = affine.reduce(
      (text, access, a) => `(${text} ${a === 0 ? '*' : '+'} ${access.get(`at${i}`)})`,
      `(c${i} * vec4<f32>(scale))`,
    );
    const statement = y.set(`y_row + at${i}`, value);
    return inside(i) === 'true' ? statement : `if (${inside(i)}) { ${statement} }`;
  };
  const body = `let lane = tid % ${lanes}u;
  let row = group * ${group / lanes}u + tid / ${lanes}u;
  let live = row < ${total};
  ${s.decode('r', `min(row, ${total} - 1u)`, rows.shape)}
  let x_row = ${s.dot('x_row', 'r', inQuads(rows.strides[0]!))};
  let y_row = ${s.dot('y_row', 'r', inQuads(rows.strides[1]!))};
  ${each((i) => `let at${i} = lane + ${i * lanes}u; let v${i} = ${x.getIf(`x_row + at${i}`, inside(i))};`)}
  let length = ${s.f32('length', length)};
  ${
    centred
      ? `var sum = 0.0;
  ${each((i) => `sum += dot(v${i}, vec4<f32>(1.0));`)}
  let mean = row_sum(tid, sum) / length;`
      : ''
  }
  var square = 0.0;
  ${each(square)}
  let scale = inverseSqrt(row_sum(tid, square) * ${s.f32('share', 1 / length)} + ${s.f32('eps', eps)});
  if (live) {
    ${each(store)}
  }`;
  return { dispatches: [s.dispatch(group, Math.ceil(count / (group / lanes)), body)] };
}
