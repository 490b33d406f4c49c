// groupNorm of channels-last tensors in quads of channels. An invocation stays with its quad and walks over pixels, so
// that no element costs a division; its sums are per channel, since a quad may lie in two groups. A workgroup takes a
// slab: some whole groups of the channels, all pixels or a chunk of them.

import { activations } from '@darkroom/core';
import { elementCount } from '@darkroom/core/backend';
import type { Expr } from '@darkroom/core';
import type { ArgSpec, GroupNormOp } from '@darkroom/core/backend';
import { render } from '../../text/render.ts';
import { Shader } from '../../text/shader.ts';
import type { KernelDispatch, Traits } from '../../text/dispatch.ts';
import type { Access } from '../../text/access.ts';
import type { KernelSpec } from '../kernel.ts';
import { acrossLanes } from './rows.ts';

/** Pixels of an invocation whose loads are under way at once. */
const batch = 4;
/** Workgroups of a chunked norm, about: some for each processor of a large GPU. */
const enoughWorkgroups = 512;
/** Quads of a slab of a chunked norm, at least: whole lines of memory. */
const lineQuads = 16;
/** Quads of a slab above which more workgroups are worth a second launch. */
const slabQuads = 8192;

/** Division of a tensor among workgroups. */
interface Slabs {
  readonly threads: number;
  readonly images: number;
  readonly area: number;
  /** Quads of a pixel. */
  readonly quads: number;
  /** Channels of a group. */
  readonly per: number;
  readonly groups: number;
  /** Groups of a slab, a power of two; the last slab may have fewer. */
  readonly taken: number;
  readonly slabs: number;
  /** Quads of a slab's pixel, and pixels that a workgroup sees at once. */
  readonly columns: number;
  readonly lines: number;
  readonly chunks: number;
  /** Pixels of a chunk; the last may have fewer. */
  readonly pixels: number;
}

function slabsOf(op: GroupNormOp, x: ArgSpec, traits: Traits, chunked: boolean): Slabs | undefined {
  const [images, channels, ...rest] = x.layout.shape as [number, number, ...number[]];
  const area = elementCount(rest);
  const per = channels / op.groups;
  // Two quads and two numbers of each invocation lie in workgroup memory.
  let threads = chunked ? 256 : 512;
  while (threads > traits.invocations || threads * 48 > traits.workgroupBytes) threads /= 2;
  let taken = 1;
  while ((taken * per) % 4 !== 0 || (chunked && taken * per < 4 * lineQuads && taken < op.groups)) taken *= 2;
  const columns = (taken * per) / 4;
  if (columns > threads || taken > threads) return undefined;
  const lines = Math.floor(threads / columns);
  const slabs = Math.ceil(op.groups / taken);
  const wanted = Math.min(Math.ceil(enoughWorkgroups / (slabs * images)), Math.ceil(area / (lines * batch)));
  const pixels = chunked ? Math.ceil(area / wanted) : area;
  const chunks = Math.ceil(area / pixels);
  const { groups } = op;
  return {
    threads,
    images,
    area,
    quads: channels / 4,
    per,
    groups,
    taken,
    slabs,
    columns,
    lines,
    chunks,
    pixels,
  };
}

/** Choices for a channels-last x and result, best guess first: 'slab' is one launch, 'slabs' two. */
export function slabChoices(op: GroupNormOp, args: readonly ArgSpec[], traits: Traits): readonly string[] {
  const x = args[0]!;
  if (elementCount(x.layout.shape) === 0 || x.layout.shape[1]! % 4 !== 0) return [];
  if (args.slice(1, -1).some((a) => a.layout.strides[0] !== 1)) return [];
  const [one, two] = [slabsOf(op, x, traits, false), slabsOf(op, x, traits, true)];
  const several = two && two.chunks > 1 ? ['slabs'] : [];
  if (!one) return several;
  return one.area * one.columns > slabQuads ? [...several, 'slab'] : ['slab', ...several];
}

/** One kernel's text under construction. */
interface Build {
  readonly s: Shader;
  readonly g: Slabs;
  /** Text of a parameter. */
  readonly of: (
    name: 'area' | 'quads' | 'per' | 'slabs' | 'columns' | 'lines' | 'chunks' | 'pixels',
  ) => string;
  readonly lanes: number;
}

function begin(label: string, g: Slabs, args: readonly ArgSpec[], traits: Traits): Build {
  const s = new Shader(traits, label, args);
  const lanes = g.threads / g.taken;
  acrossLanes(s, 'group_sum', lanes, g.threads, 'a + b');
  return { s, g, of: (name) => s.u32(name, g[name]), lanes };
}

/** Statements that declare the workgroup's slab and chunk, and the invocation's quad and first pixel. */
const places = ({ of, g, lanes }: Build): string => `let slab = group % ${of('slabs')};
  let chunk = group / ${of('slabs')} % ${of('chunks')};
  let image = group / ${of('slabs')} / ${of('chunks')};
  let line = tid / ${of('columns')};
  let column = tid % ${of('columns')};
  let live = line < ${of('lines')} && slab * ${of('columns')} + column < ${of('quads')};
  let start = chunk * ${of('pixels')};
  let end = min(start + ${of('pixels')}, ${of('area')});
  let quad = min(slab * ${of('columns')} + column, ${of('quads')} - 1u);
  let base = image * ${of('area')} * ${of('quads')} + quad;
  let last = select(start, end, live);
  let step = ${of('lines')} * ${of('quads')};
  let g = tid / ${lanes}u;
  let lane = tid % ${lanes}u;
  let g_slot = (image * ${of('slabs')} + slab) * ${g.taken}u + g;
  let first = g * ${of('per')};`;

const times = (text: (i: number) => string, separator = '\n    '): string =>
  Array.from({ length: batch }, (_, i) => text(i)).join(separator);

/** Statements that load a batch of pixels from `from` on; those past the end are the last one. */
const load = ({ of }: Build, x: Access, to: string, from: string): string =>
  times(
    (i) => `${to}${i} = ${x.get(`base + min(${from} + ${i}u * ${of('lines')}, end - 1u) * ${of('quads')}`)};`,
  );

/** Statements that load the first batch, v0 to v3, from pixel q on; before what waits, so that both waits are one. */
const preload = (b: Build, x: Access): string => `var q = start + line;
  ${times((i) => `var v${i} = vec4<f32>();`, ' ')}
  ${load(b, x, 'v', 'q')}`;

/** As preload, once more. */
const again = (b: Build, x: Access): string => `q = start + line;
  ${load(b, x, 'v', 'q')}`;

/** A loop over the batches, whose first is loaded: the next one is on its way while `body` uses v0 to v3. */
const batches = (
  b: Build,
  x: Access,
  body: string,
): string => `for (; q < last; q += ${batch}u * ${b.of('lines')}) {
    ${times((i) => `var next${i} = v${i};`, ' ')}
    if (q + ${batch}u * ${b.of('lines')} < last) {
      ${load(b, x, 'next', `q + ${batch}u * ${b.of('lines')}`)}
    }
    ${body}
    ${times((i) => `v${i} = next${i};`, ' ')}
  }`;

/**
 * Statements that give every invocation `mean` of group g over the workgroup's pixels and `spread`, the sum of squared
 * distances from it. Sums are of distances from a channel's first pixel, then merged in pairs (Chan et al., 1979).
 */
function measure(b: Build, x: Access): string {
  const { s, g, of, lanes } = b;
  s.shared('slab_mean', 'vec4<f32>', g.threads);
  s.shared('slab_square', 'vec4<f32>', g.threads);
  s.shared('slab_count', 'f32', g.threads);
  const channels = (body: string): string =>
    `for (var c = first + lane; c < first + ${of('per')}; c += ${lanes}u) { ${body} }`;
  const left = (i: number): string =>
    `select(vec4<f32>(), v${i} - origin, q + ${i}u * ${of('lines')} < last)`;
  const sums = `${times((i) => `let d${i} = ${left(i)};`)}
    sum = sum + (${times((i) => `d${i}`, ' + ')});
    squares = squares + (${times((i) => `d${i} * d${i}`, ' + ')});`;
  return `let origin = v0;
  var sum = vec4<f32>();
  var squares = vec4<f32>();
  ${batches(b, x, sums)}
  var count = 0.0;
  if (start + line < last) { count = f32((end - start - line + ${of('lines')} - 1u) / ${of('lines')}); }
  let offset = sum * vec4<f32>(1.0 / max(count, 1.0));
  var own_mean = origin + offset;
  var own_square = squares - sum * offset;
  slab_mean[tid] = own_mean;
  slab_square[tid] = own_square;
  slab_count[tid] = count;
  workgroupBarrier();
  for (var rest = ${of('lines')}; rest > 1u; rest = (rest + 1u) / 2u) {
    let half = (rest + 1u) / 2u;
    if (line + half < rest) {
      let other = tid + half * ${of('columns')};
      let both = count + slab_count[other];
      let share = slab_count[other] / max(both, 1.0);
      let d = slab_mean[other] - own_mean;
      own_mean = own_mean + d * vec4<f32>(share);
      own_square = own_square + slab_square[other] + d * d * vec4<f32>(count * share);
      count = both;
      slab_mean[tid] = own_mean;
      slab_square[tid] = own_square;
      slab_count[tid] = count;
    }
    workgroupBarrier();
  }
  let shift = slab_mean[first / 4u][first % 4u];
  var total = 0.0;
  ${channels('total += slab_mean[c / 4u][c % 4u] - shift;')}
  let mean = shift + group_sum(tid, total) / f32(${of('per')});
  var spread = 0.0;
  ${channels(`let d = slab_mean[c / 4u][c % 4u] - mean;
    spread += slab_square[c / 4u][c % 4u] + d * d * f32(end - start);`)}
  spread = group_sum(tid, spread);`;
}

/** Statements that keep mean and spread of a chunk for merge. */
function keep({ s, g, of }: Build): string {
  const part = s.scratch(0, partials(g), 'write');
  return `if (lane == 0u) {
    let at = 2u * (g_slot * ${of('chunks')} + chunk);
    ${part.set('at', 'mean')} ${part.set('at + 1u', 'spread')}
  }`;
}

/** Statements that give every invocation `mean` and `spread` of group g over all pixels, from those of the chunks. */
function merge({ s, g, of, lanes }: Build): string {
  const part = s.scratch(0, partials(g), 'read');
  const [pixels, chunks, area] = [of('pixels'), of('chunks'), of('area')];
  return `let parts = g_slot * ${chunks};
  let shift = ${part.get('2u * parts')};
  var total = 0.0;
  var spread = 0.0;
  for (var i = lane; i < ${chunks}; i += ${lanes}u) {
    let d = ${part.get('2u * (parts + i)')} - shift;
    let weight = f32(min(${pixels}, ${area} - i * ${pixels}) * ${of('per')});
    total += weight * d;
    spread += ${part.get('2u * (parts + i) + 1u')} + weight * d * d;
  }
  total = group_sum(tid, total);
  let part_mean = total / f32(${area} * ${of('per')});
  let mean = shift + part_mean;
  spread = group_sum(tid, spread) - total * part_mean;`;
}

const partials = (g: Slabs): number => 2 * g.images * g.slabs * g.taken * g.chunks;

/** Statements that load weight and bias; before what waits, as preload. */
const parameters = ({ s }: Build, args: readonly ArgSpec[]): string =>
  ['weight', 'bias']
    .slice(0, args.length - 2)
    .map((name, i) => `let ${name} = ${s.read(i + 1, 4).get('quad')};`)
    .join(' ');

/** Statements that write the workgroup's pixels, given mean and spread of its groups. `q` is the first pixel. */
function apply(b: Build, op: GroupNormOp, args: readonly ArgSpec[], x: Access): string {
  const { s, g, of } = b;
  const affine = args.length - 2;
  const y = s.write(args.length - 1, 4);
  s.shared('group_mean', 'f32', g.taken);
  s.shared('group_scale', 'f32', g.taken);
  let expr: Expr = ['mul', ['sub', ['in', 0], ['in', 1]], ['in', 2]];
  if (affine > 1) expr = ['add', expr, ['in', 3]];
  if (op.activation === 'silu') expr = activations.silu(expr);
  const store = (i: number): string => {
    const inputs = [`v${i}`, 'centre', 'factor', 'bias'];
    const result = render(s, expr, { input: (a) => inputs[a]!, scalar: () => '' }, 4);
    return `if (q + ${i}u * ${of('lines')} < last) { ${result.code} ${y.set(`at + ${i}u * step`, result.value)} }`;
  };
  // Exact: a quotient lies half a channel or more away from a whole number.
  const groupOf = (i: number): string =>
    `u32((f32(4u * column) + ${i}.5) * ${s.f32('of_channel', 1 / g.per)})`;
  const perLane = (array: string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map((i) => `${array}[min(g${i}, ${g.taken - 1}u)]`).join(', ')})`;
  return `if (lane == 0u) {
    group_mean[g] = mean;
    group_scale[g] = inverseSqrt(spread / f32(${of('area')} * ${of('per')}) + ${s.f32('eps', op.eps)});
  }
  workgroupBarrier();
  ${[0, 1, 2, 3].map((i) => `let g${i} = ${groupOf(i)};`).join(' ')}
  let centre = ${perLane('group_mean')};
  let factor = ${perLane('group_scale')}${affine > 0 ? ' * weight' : ''};
  ${batches(b, x, `let at = base + q * ${of('quads')};\n    ${times(store)}`)}`;
}

/** groupNorm of a channels-last tensor by one of slabChoices; slices start at whole quads. */
export function slabNorm(
  op: GroupNormOp,
  args: readonly ArgSpec[],
  choice: string,
  traits: Traits,
): KernelSpec {
  const g = slabsOf(op, args[0]!, traits, choice === 'slabs')!;
  const count = g.images * g.slabs * g.chunks;
  /** One dispatch; `body` gets the kernel's text under construction and its x. */
  const launch = (label: string, body: (b: Build, x: Access) => readonly string[]): KernelDispatch => {
    const b = begin(`groupNorm/${label}`, g, args, traits);
    const text = [places(b), ...body(b, b.s.read(0, 4))].join('\n  ');
    return b.s.dispatch(g.threads, count, text);
  };
  if (choice === 'slab') {
    const whole = launch('slab', (b, x) => [
      preload(b, x),
      parameters(b, args),
      measure(b, x),
      again(b, x),
      apply(b, op, args, x),
    ]);
    return { dispatches: [whole] };
  }
  const parts = launch('slab-parts', (b, x) => [preload(b, x), measure(b, x), keep(b)]);
  const applied = launch('slab-apply', (b, x) => [
    preload(b, x),
    parameters(b, args),
    merge(b),
    apply(b, op, args, x),
  ]);
  return { dispatches: [parts, applied], scratch: [partials(g) * 4] };
}
