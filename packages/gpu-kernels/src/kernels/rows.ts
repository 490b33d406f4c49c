// Kernels over rows: softmax, layerNorm, rmsNorm, reduce. Each row belongs to `lanes` adjacent invocations, which
// stride through it and combine in workgroup memory; short rows share a workgroup.

import { elementCount } from '@darkroom/core';
import type { ArgSpec, Expr, LayerNormOp, ReduceOp, RmsNormOp, SoftmaxOp } from '@darkroom/core';
import { mathFunction } from '../text/math.ts';
import { render } from '../text/render.ts';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/shader.ts';
import { collapse } from './dimensions.ts';
import type { Dimensions } from './dimensions.ts';
import { usesIndex } from './expressions.ts';
import type { KernelFactory, KernelPlan } from './kernel.ts';

const threads = 64;

/** Lanes for a row of `length`: about four elements each, so that short rows waste none. */
function lanesFor(length: number): number {
  let lanes = 1;
  while (lanes < threads && lanes * 4 < length) lanes *= 2;
  return lanes;
}

/** `name(tid, value)`: `combine` of a and b over the lanes of tid's row, given to all of them. Call in uniform control flow. */
export function acrossLanes(
  s: Shader,
  name: string,
  lanes: number,
  all: number,
  combine: string,
  type = 'f32',
): void {
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

interface RowSpace {
  /** Coordinates of a row and of an element in it; strides of each argument. */
  readonly rows: Dimensions;
  readonly inner: Dimensions;
}

/** Splits the walk of `args` over `shape` into rows (the axes not in `axes`) and elements. */
function rowSpace(
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
function rowKernel(
  s: Shader,
  space: RowSpace,
  names: readonly string[],
  body: (lanes: number) => string,
): KernelPlan {
  const length = elementCount(space.inner.shape);
  const count = elementCount(space.rows.shape);
  const lanes = lanesFor(length);
  const perGroup = threads / lanes;
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
  return { passes: [s.pass(threads, Math.ceil(count / perGroup), text)] };
}

const each = (body: string, lanes: number): string =>
  `for (var e = lane; e < length; e += ${lanes}u) { ${body} }`;

/** Inner dimensions merge only with matching strides; an empty row gives no work. */
const empty = (shape: readonly number[]): boolean => elementCount(shape) === 0;

export const softmax: KernelFactory<SoftmaxOp> = {
  choices: () => ['rows'],
  prepare(op, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    if (empty(x.layout.shape)) return { passes: [] };
    const s = new Shader(traits, 'softmax/rows', args);
    const [read, y] = [s.read(0), s.write(1)];
    const space = rowSpace(x.layout.shape, [x.layout.strides, out.layout.strides], [op.axis]);
    return rowKernel(s, space, ['x', 'y'], (lanes) => {
      acrossLanes(s, 'row_max', lanes, threads, 'max(a, b)');
      acrossLanes(s, 'row_sum', lanes, threads, 'a + b');
      const value = read.get('x_row + x_pos(e)');
      return `var highest = -bitcast<f32>(${s.u32('inf', 0x7f800000)});
  ${each(`highest = max(highest, ${value});`, lanes)}
  highest = row_max(tid, highest);
  var total = 0.0;
  ${each(`total += exp(${value} - highest);`, lanes)}
  total = row_sum(tid, total);
  if (live) { ${each(y.set('y_row + y_pos(e)', `exp(${value} - highest) / total`), lanes)} }`;
    });
  },
};

/** Over the last axis, with optional weight and bias. */
function lastAxisNorm(
  label: string,
  eps: number,
  centred: boolean,
  args: readonly ArgSpec[],
  traits: Traits,
): KernelPlan {
  const x = args[0]!;
  const out = args.at(-1)!;
  if (empty(x.layout.shape)) return { passes: [] };
  const s = new Shader(traits, label, args);
  const read = s.read(0);
  const affine = args
    .slice(1, -1)
    .map((a, i) => ({ access: s.read(i + 1), stride: s.u32(`w${i}`, a.layout.strides[0]!) }));
  const y = s.write(args.length - 1);
  const axis = x.layout.shape.length - 1;
  const space = rowSpace(x.layout.shape, [x.layout.strides, out.layout.strides], [axis]);
  return rowKernel(s, space, ['x', 'y'], (lanes) => {
    acrossLanes(s, 'row_sum', lanes, threads, 'a + b');
    const value = read.get('x_row + x_pos(e)');
    const scaled = affine.reduce(
      (text, { access, stride }, i) => `(${text} ${i === 0 ? '*' : '+'} ${access.get(`e * ${stride}`)})`,
      '((v - mean) * scale)',
    );
    return `var mean = 0.0;
  ${
    centred
      ? `${each(`mean += ${value};`, lanes)}
  mean = row_sum(tid, mean) / f32(length);`
      : ''
  }
  var square = 0.0;
  ${each(`let v = ${value} - mean; square += v * v;`, lanes)}
  let scale = inverseSqrt(row_sum(tid, square) / f32(length) + ${s.f32('eps', eps)});
  if (live) { ${each(`let v = ${value}; ${y.set('y_row + y_pos(e)', scaled)}`, lanes)} }`;
  });
}

export const layerNorm: KernelFactory<LayerNormOp> = {
  choices: () => ['rows'],
  prepare: (op, args, _, traits) => lastAxisNorm('layerNorm/rows', op.eps, true, args, traits),
};
export const rmsNorm: KernelFactory<RmsNormOp> = {
  choices: () => ['rows'],
  prepare: (op, args, _, traits) => lastAxisNorm('rmsNorm/rows', op.eps, false, args, traits),
};

export const reduce: KernelFactory<ReduceOp> = {
  // An empty reduction of max has no value; and coordinates mean nothing inside one.
  choices: (op, args) =>
    (op.pre && usesIndex(op.pre)) ||
    (op.post && usesIndex(op.post)) ||
    (op.fn !== 'sum' && empty(args[0]!.layout.shape))
      ? []
      : ['rows'],
  prepare(op, args, _, traits) {
    const [x, out] = args as [ArgSpec, ArgSpec];
    const { shape, strides } = x.layout;
    // The output's strides, seen from the input's axes; reduced ones stand still.
    let kept = 0;
    const outStrides = shape.map((_n, d) => {
      if (op.axes.includes(d)) {
        if (op.keepDims) kept++;
        return 0;
      }
      return out.layout.strides[kept++]!;
    });
    if (empty(out.layout.shape)) return { passes: [] };
    const s = new Shader(traits, `reduce/${op.fn}`, args);
    for (const [name, text] of mathFunction('is_nan', 1)) s.use(name, text);
    const [read, y] = [s.read(0), s.write(1)];
    const space = rowSpace(shape, [strides, outStrides], op.axes);
    const value = (): { code: string; value: string } =>
      applied(s, op.pre, read.get('x_row + x_pos(e)'), 'p');
    const finish = (text: string): string => {
      const { code, value: v } = applied(s, op.post, text, 'q');
      return `if (live && lane == 0u) { ${code} ${y.set('y_row', v)} }`;
    };
    return rowKernel(s, space, ['x', 'y'], (lanes) => {
      const pre = value();
      if (op.fn === 'sum') {
        acrossLanes(s, 'row_sum', lanes, threads, 'a + b');
        return `var total = 0.0;
  ${each(`${pre.code} total += ${pre.value};`, lanes)}
  total = row_sum(tid, total);
  ${finish('total')}`;
      }
      // (bits of the value, index): the better value, the earlier of equals; NaN beats everything.
      const order = op.fn === 'min' ? '<' : '>';
      s.use(
        'better',
        `fn better(p: vec2<u32>, q: vec2<u32>) -> vec2<u32> {
  if (q.y == 0xffffffffu) { return p; }
  if (p.y == 0xffffffffu) { return q; }
  let a = bitcast<f32>(p.x);
  let b = bitcast<f32>(q.x);
  let earlier = p.y < q.y;
  if (is_nan(a) || is_nan(b)) { return select(q, p, is_nan(a) && (!is_nan(b) || earlier)); }
  return select(q, p, a ${order} b || (a == b && earlier));
}`,
      );
      acrossLanes(s, 'row_best', lanes, threads, 'better(a, b)', 'vec2<u32>');
      return `var best = vec2<u32>(0u, 0xffffffffu);
  ${each(`${pre.code} best = better(best, vec2<u32>(bitcast<u32>(${pre.value}), e));`, lanes)}
  best = row_best(tid, best);
  ${finish(op.fn === 'argmax' ? 'f32(best.y)' : 'bitcast<f32>(best.x)')}`;
    });
  },
};

function applied(
  s: Shader,
  expr: Expr | undefined,
  input: string,
  prefix: string,
): { code: string; value: string } {
  if (expr === undefined) return { code: '', value: input };
  return render(s, expr, { input: () => input, scalar: () => '0.0' }, 1, prefix);
}
