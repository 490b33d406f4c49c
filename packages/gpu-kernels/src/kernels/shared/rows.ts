// Shared by the kernels over rows: adjacent invocations stride through a row and combine their results in workgroup
// memory; short rows share a workgroup.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec } from '@darkroom/core/backend';
import { Shader } from '../../text/shader.ts';
import type { Traits } from '../../text/dispatch.ts';
import type { KernelSpec } from '../kernel.ts';
import { collapse } from './dimensions.ts';
import type { Dimensions } from './dimensions.ts';

/** Invocations of a workgroup of the row kernels. */
export const rowThreads = 64;

/** Lanes for a row of `length`: about four elements each, so that short rows waste none. */
function lanesFor(length: number): number {
  let lanes = 1;
  while (lanes < rowThreads && lanes * 4 < length) lanes *= 2;
  return lanes;
}

/**
 * `name(tid, value)`: `combine` of a and b, whose order does not count, over the lanes of tid's row, given to all of
 * them. `lanes` and `all`, the workgroup's invocations, are powers of two. Call in uniform control flow.
 */
export function acrossLanes(
  s: Shader,
  name: string,
  lanes: number,
  all: number,
  combine: string,
  type = 'f32',
): void {
  if (s.traits.shuffles && type === 'f32') {
    acrossWarps(s, name, lanes, all, combine);
    return;
  }
  s.shared(`${name}_lanes`, type, all);
  s.use(
    name,
    `fn ${name}(tid: u32, value: ${type}) -> ${type} {
  ${name}_lanes[tid] = value;
  workgroupBarrier();
  for (var half = ${Math.floor(lanes / 2)}u; half > 0u; half = half / 2u) {
    if (tid % ${lanes}u < half) {
      let a = ${name}_lanes[tid];
      let b = ${name}_lanes[tid + half];
      ${name}_lanes[tid] = ${combine};
    }
    workgroupBarrier();
  }
  let result = ${name}_lanes[tid - tid % ${lanes}u];
  workgroupBarrier();
  return result;
}`,
  );
}

/** acrossLanes where the lanes of a warp exchange registers: workgroup memory only joins warps. */
function acrossWarps(s: Shader, name: string, lanes: number, all: number, combine: string): void {
  const warps = lanes / 32;
  const join = `if (tid % 32u == 0u) { ${name}_lanes[tid / 32u] = a; }
  workgroupBarrier();
  let first = tid / ${lanes}u * ${warps}u;
  a = ${name}_lanes[first];
  for (var i = 1u; i < ${warps}u; i++) {
    let b = ${name}_lanes[first + i];
    a = ${combine};
  }
  workgroupBarrier();`;
  if (warps > 1) s.shared(`${name}_lanes`, 'f32', all / 32);
  s.use(
    name,
    `fn ${name}(tid: u32, value: f32) -> f32 {
  var a = value;
  for (var by = ${Math.floor(Math.min(lanes, 32) / 2)}u; by > 0u; by = by / 2u) {
    let b = __shfl_xor_sync(0xffffffffu, a, by);
    a = ${combine};
  }
  ${warps > 1 ? join : ''}
  return a;
}`,
  );
}

export interface RowSpace {
  /** Coordinates of a row and of an element in it; strides of each argument. */
  readonly rows: Dimensions;
  readonly inner: Dimensions;
}

/** Splits the walk of `args` over `shape` into rows (the axes not in `axes`) and elements. */
export function rowSpace(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  axes: readonly number[],
): RowSpace {
  const pick = (keep: (d: number) => boolean): Dimensions =>
    collapse(
      shape.filter((_, d) => keep(d)),
      strides.map((s) => s.filter((_, d) => keep(d))),
    );
  return { rows: pick((d) => !axes.includes(d)), inner: pick((d) => axes.includes(d)) };
}

/** Statements shared by all row kernels; `names[a]` gets a base position `<name>_row` and a function of e. */
export function rowKernel(
  s: Shader,
  space: RowSpace,
  names: readonly string[],
  body: (lanes: number) => string,
): KernelSpec {
  const length = elementCount(space.inner.shape);
  const count = elementCount(space.rows.shape);
  const lanes = lanesFor(length);
  const perGroup = rowThreads / lanes;
  const rows = s.u32('rows', count);
  const bases = names.map((n, a) => `let ${n}_row = ${s.dot(`${n}_row`, 'r', space.rows.strides[a]!)};`);
  for (const [a, n] of names.entries()) {
    const { shape } = space.inner;
    const position = s.dot(`${n}_in`, 'j', space.inner.strides[a]!);
    s.use(`${n}_at_fn`, `fn ${n}_pos(e: u32) -> u32 { ${s.decode('j', 'e', shape)} return ${position}; }`);
  }
  const text = `let lane = tid % ${lanes}u;
  let row = group * ${perGroup}u + tid / ${lanes}u;
  let live = row < ${rows};
  ${s.decode('r', `min(row, ${rows} - 1u)`, space.rows.shape)}
  ${bases.join('\n  ')}
  let length = ${s.u32('length', length)};
  ${body(lanes)}`;
  return { dispatches: [s.dispatch(rowThreads, Math.ceil(count / perGroup), text)] };
}

/** Statements for every element `e` of the row that this invocation visits. */
export const eachElement = (body: string, lanes: number): string =>
  `for (var e = lane; e < length; e += ${lanes}u) { ${body} }`;

/** True if a tensor of this shape has no element. */
export const isEmpty = (shape: readonly number[]): boolean => elementCount(shape) === 0;

/** Over the last axis, with optional weight and bias. */
export function lastAxisNorm(
  label: string,
  eps: number,
  centred: boolean,
  args: readonly ArgSpec[],
  traits: Traits,
): KernelSpec {
  const x = args[0]!;
  const out = args.at(-1)!;
  if (isEmpty(x.layout.shape)) return { dispatches: [] };
  const s = new Shader(traits, label, args);
  const read = s.read(0);
  const affine = args
    .slice(1, -1)
    .map((a, i) => ({ access: s.read(i + 1), stride: s.u32(`w${i}`, a.layout.strides[0]!) }));
  const y = s.write(args.length - 1);
  const axis = x.layout.shape.length - 1;
  const space = rowSpace(x.layout.shape, [x.layout.strides, out.layout.strides], [axis]);
  return rowKernel(s, space, ['x', 'y'], (lanes) => {
    acrossLanes(s, 'row_sum', lanes, rowThreads, 'a + b');
    const value = read.get('x_row + x_pos(e)');
    const scaled = affine.reduce(
      (text, { access, stride }, i) => `(${text} ${i === 0 ? '*' : '+'} ${access.get(`e * ${stride}`)})`,
      '((v - mean) * scale)',
    );
    return `var mean = 0.0;
  ${
    centred
      ? `${eachElement(`mean += ${value};`, lanes)}
  mean = row_sum(tid, mean) / f32(length);`
      : ''
  }
  var square = 0.0;
  ${eachElement(`let v = ${value} - mean; square += v * v;`, lanes)}
  let scale = inverseSqrt(row_sum(tid, square) / f32(length) + ${s.f32('eps', eps)});
  if (live) { ${eachElement(`let v = ${value}; ${y.set('y_row + y_pos(e)', scaled)}`, lanes)} }`;
  });
}
