// groupNorm with optional SiLU. Small groups: one workgroup reads its group three times (mean, variance, result).
// Large ones: partial means and squares of chunks first, merged by the dispatch that writes (Chan et al., 1979), so that
// a picture-sized group keeps the whole device busy. Channels-last tensors have faster kernels: shared/slabs.ts.

import { activations } from '@darkroom/core';
import { elementCount, isChannelsLast, isContiguous } from '@darkroom/core/backend';
import type { Expr, Layout } from '@darkroom/core';
import type { ArgSpec, GroupNormOp } from '@darkroom/core/backend';
import { render } from '../text/render.ts';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/dispatch.ts';
import type { Access } from '../text/access.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';
import { acrossLanes } from './shared/rows.ts';
import { slabChoices, slabNorm } from './shared/slabs.ts';

/** Elements above which a group is cut into chunks of this size. */
const chunkElements = 16384;

interface Geometry {
  readonly groups: number;
  readonly perGroup: number;
  readonly channels: number;
  readonly area: number;
  readonly last: boolean;
}

function geometryOf(op: GroupNormOp, layout: Layout): Geometry {
  const [n, c, ...rest] = layout.shape as [number, number, ...number[]];
  const area = elementCount(rest);
  const last = !isContiguous(layout) && isChannelsLast(layout);
  return { groups: n * op.groups, perGroup: c / op.groups, channels: c, area, last };
}

/** True if chunks of a group are worth a second launch. */
const isLarge = (g: Geometry): boolean => g.perGroup * g.area > 2 * chunkElements;

/** Position and channel of element e of group g, walking memory as it lies. */
function addressing(
  s: Shader,
  op: GroupNormOp,
  g: Geometry,
): { position: string; channel: string; setup: string } {
  const per = s.u32('per', g.perGroup);
  const area = s.u32('area', g.area);
  const first = `(g % ${s.u32('op_groups', op.groups)}) * ${per}`;
  if (!g.last) {
    return {
      setup: `let start = g * ${per} * ${area}; let first = ${first};`,
      position: 'start + e',
      channel: `first + e / ${area}`,
    };
  }
  const channels = s.u32('channels', g.channels);
  return {
    setup: `let start = g / ${s.u32('op_groups', op.groups)} * ${area} * ${channels} + ${first}; let first = ${first};`,
    position: `start + e / ${per} * ${channels} + e % ${per}`,
    channel: `first + e % ${per}`,
  };
}

/** Statement that writes element e, given `mean` and `scale`. */
function writer(
  s: Shader,
  op: GroupNormOp,
  args: readonly ArgSpec[],
  x: Access,
  y: Access,
  at: ReturnType<typeof addressing>,
): string {
  const affine: Access[] = args.slice(1, -1).map((_, i) => s.read(i + 1));
  const strides = args.slice(1, -1).map((a, i) => s.u32(`w${i}`, a.layout.strides[0]!));
  let expr: Expr = ['mul', ['sub', ['in', 0], ['in', 1]], ['in', 2]];
  if (affine[0]) expr = ['mul', expr, ['in', 3]];
  if (affine[1]) expr = ['add', expr, ['in', 4]];
  if (op.activation === 'silu') expr = activations.silu(expr);
  const inputs = [x.get('p'), 'mean', 'scale', ...affine.map((a, i) => a.get(`channel * ${strides[i]}`))];
  const { code, value } = render(s, expr, { input: (i) => inputs[i]!, scalar: () => '' }, 1);
  const channel = affine.length > 0 ? `let channel = ${at.channel};` : '';
  return `let p = ${at.position}; ${channel} ${code} ${y.set('p', value)}`;
}

function wholeGroup(op: GroupNormOp, args: readonly ArgSpec[], traits: Traits): KernelSpec {
  const g = geometryOf(op, args[0]!.layout);
  const elements = g.perGroup * g.area;
  const threads = elements >= 2048 ? Math.min(256, traits.invocations) : 64;
  const s = new Shader(traits, 'groupNorm/whole', args);
  const [x, y] = [s.read(0), s.write(args.length - 1)];
  const at = addressing(s, op, g);
  acrossLanes(s, 'row_sum', threads, threads, 'a + b');
  const n = s.u32('elements', elements);
  const each = (body: string): string => `for (var e = tid; e < ${n}; e += ${threads}u) { ${body} }`;
  const body = `let g = group;
  ${at.setup}
  var mean = 0.0;
  ${each(`mean += ${x.get(at.position)};`)}
  mean = row_sum(tid, mean) / f32(${n});
  var square = 0.0;
  ${each(`let v = ${x.get(at.position)} - mean; square += v * v;`)}
  let scale = inverseSqrt(row_sum(tid, square) / f32(${n}) + ${s.f32('eps', op.eps)});
  ${each(writer(s, op, args, x, y, at))}`;
  return { dispatches: [s.dispatch(threads, g.groups, body)] };
}

function chunked(op: GroupNormOp, args: readonly ArgSpec[], traits: Traits): KernelSpec {
  const g = geometryOf(op, args[0]!.layout);
  const elements = g.perGroup * g.area;
  const chunks = Math.ceil(elements / chunkElements);
  const threads = Math.min(256, traits.invocations);
  const partials = g.groups * chunks * 2;
  const head = (
    s: Shader,
    at: ReturnType<typeof addressing>,
  ): string => `let g = group / ${s.u32('chunks', chunks)};
  let chunk = group % ${s.u32('chunks', chunks)};
  let begin = chunk * ${s.u32('chunk', chunkElements)};
  let end = min(begin + ${s.u32('chunk', chunkElements)}, ${s.u32('elements', elements)});
  ${at.setup}`;
  const each = (body: string): string => `for (var e = begin + tid; e < end; e += ${threads}u) { ${body} }`;

  const first = new Shader(traits, 'groupNorm/partial', args);
  const x = first.read(0);
  const out = first.scratch(0, partials, 'write');
  const at = addressing(first, op, g);
  acrossLanes(first, 'row_sum', threads, threads, 'a + b');
  const measure = first.dispatch(
    threads,
    g.groups * chunks,
    `${head(first, at)}
  var mean = 0.0;
  ${each(`mean += ${x.get(at.position)};`)}
  mean = row_sum(tid, mean) / f32(end - begin);
  var square = 0.0;
  ${each(`let v = ${x.get(at.position)} - mean; square += v * v;`)}
  square = row_sum(tid, square);
  if (tid == 0u) { ${out.set('group * 2u', 'mean')} ${out.set('group * 2u + 1u', 'square')} }`,
  );

  const second = new Shader(traits, 'groupNorm/apply', args);
  const [x2, y] = [second.read(0), second.write(args.length - 1)];
  const part = second.scratch(0, partials, 'read');
  const at2 = addressing(second, op, g);
  const n = second.u32('elements', elements);
  const size = second.u32('chunk', chunkElements);
  const apply = second.dispatch(
    threads,
    g.groups * chunks,
    `${head(second, at2)}
  let base = g * ${second.u32('chunks', chunks)} * 2u;
  var mean = 0.0;
  for (var i = 0u; i < ${second.u32('chunks', chunks)}; i++) {
    mean += ${part.get('base + 2u * i')} * (f32(min(${size}, ${n} - i * ${size})) / f32(${n}));
  }
  var square = 0.0;
  for (var i = 0u; i < ${second.u32('chunks', chunks)}; i++) {
    let d = ${part.get('base + 2u * i')} - mean;
    square += ${part.get('base + 2u * i + 1u')} + d * d * f32(min(${size}, ${n} - i * ${size}));
  }
  let scale = inverseSqrt(square / f32(${n}) + ${second.f32('eps', op.eps)});
  ${each(writer(second, op, args, x2, y, at2))}`,
  );
  return { dispatches: [measure, apply], scratch: [partials * 4] };
}

export const groupNorm: KernelFactory<GroupNormOp> = {
  // Other layouts (views) decompose; core's models never give them.
  choices(op, args, traits) {
    const [x, out] = [args[0]!.layout, args.at(-1)!.layout];
    const both = (is: (l: Layout) => boolean): boolean => is(x) && is(out);
    if (!both(isContiguous) && !both(isChannelsLast)) return [];
    const g = geometryOf(op, x);
    return [
      ...(g.last && both(isChannelsLast) ? slabChoices(op, args, traits) : []),
      ...(isLarge(g) ? ['chunked', 'whole'] : ['whole']),
    ];
  },
  prepare(op, args, choice, traits, wide) {
    if (elementCount(args[0]!.layout.shape) === 0) return { dispatches: [] };
    const slabs = choice === 'slab' || choice === 'slabs';
    if (slabs && wide) return slabNorm(op, args, choice, traits);
    const chunks = slabs ? isLarge(geometryOf(op, args[0]!.layout)) : choice === 'chunked';
    return chunks ? chunked(op, args, traits) : wholeGroup(op, args, traits);
  },
};
