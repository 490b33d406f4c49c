// Attention with online softmax (Milakov & Gimelshein, 2018; Dao et al., 2022): the score matrix is never stored.
// 'rows': an invocation owns one query, keys and values pass through workgroup memory; for heads whose query and
// result fit in registers. 'blocks': a workgroup owns a block of queries and splits the head among its invocations;
// for wide heads (the VAE's 512).

import { elementCount, span } from '@darkroom/core';
import type { ArgSpec, AttentionOp } from '@darkroom/core';
import { Shader } from '../text/shader.ts';
import type { Traits } from '../text/shader.ts';
import type { Access } from '../text/access.ts';
import { broadcastStrides } from './dimensions.ts';
import type { KernelFactory, KernelPlan } from './kernel.ts';
import { acrossLanes } from './rows.ts';

/** Widest head of the 'rows' kernel: two vectors of it live in registers. */
const widestRow = 96;
/** Quads of queries that one invocation may own; compilers take time that grows with the square of more. */
const mostQuads = 40;

interface Problem {
  readonly s: Shader;
  readonly op: AttentionOp;
  readonly d: number;
  readonly q: Access;
  readonly k: Access;
  readonly v: Access;
  readonly y: Access;
  /** Reads quads of q, k, v (vec4) at a text position; `at` counts quads of the head. */
  quad(which: 'q' | 'k' | 'v', row: string, at: string): string;
  /** Statements that store quad `at` of the result row. */
  put(row: string, at: string, value: string): string;
  /** Score with scale and mask, given the raw dot product. */
  score(raw: string, row: string, key: string): string;
  /** Declares b, h and the bases of every argument from `head` = b · heads + h. */
  readonly bases: string;
  readonly keys: string;
  readonly queries: string;
}

function problem(
  label: string,
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
): Problem {
  const [q, k, v] = args.map((a) => a.layout);
  const out = args.at(-1)!.layout;
  const [b, heads, l, d] = q!.shape as [number, number, number, number];
  const keys = k!.shape[2]!;
  const s = new Shader(traits, label, args);
  const fits = (layout: ArgSpec['layout']): boolean =>
    wide && d % 4 === 0 && layout.strides[3] === 1 && layout.strides.slice(0, 3).every((x) => x % 4 === 0);
  const names = ['q', 'k', 'v', 'y'] as const;
  const layouts = [q!, k!, v!, out];
  const widths = layouts.map((layout) => (fits(layout) ? 4 : 1));
  const accesses = [s.read(0, widths[0] as 1), s.read(1, widths[1] as 1), s.read(2, widths[2] as 1)];
  const mask = op.mask === 'additive' ? s.read(3) : undefined;
  const y = s.write(args.length - 1, widths[3] as 1);
  const unit = (i: number, dim: number): string =>
    s.u32(`${names[i]}_s${dim}`, layouts[i]!.strides[dim]! / widths[i]!);
  const D = s.u32('d', d);
  const ragged = d % 4 !== 0;

  const quad = (which: 'q' | 'k' | 'v', row: string, at: string): string => {
    const i = names.indexOf(which);
    const base = `${which}_base + (${row}) * ${unit(i, 2)}`;
    if (widths[i] === 4) return accesses[i]!.get(`${base} + ${at}`);
    const step = s.u32(`${which}_step`, layouts[i]!.strides[3]!);
    const lane = (j: number): string =>
      accesses[i]!.getIf(
        `${base} + ((${at}) * 4u + ${j}u) * ${step}`,
        ragged ? `(${at}) * 4u + ${j}u < ${D}` : 'true',
      );
    return `vec4<f32>(${[0, 1, 2, 3].map(lane).join(', ')})`;
  };
  const put = (row: string, at: string, value: string): string => {
    const base = `y_base + (${row}) * ${unit(3, 2)}`;
    if (widths[3] === 4) return y.set(`${base} + ${at}`, value);
    const step = s.u32('y_step', out.strides[3]!);
    return `{ let four = ${value}; for (var j = 0u; j < min(4u, ${D} - (${at}) * 4u); j++) { ${y.set(`${base} + ((${at}) * 4u + j) * ${step}`, 'four[j]')} } }`;
  };
  const minusInfinity = `-bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  const scale = s.f32('scale', op.scale);
  const maskStrides = mask && broadcastStrides(args[3]!.layout, [b, heads, l, keys]);
  const score = (raw: string, row: string, key: string): string => {
    const scaled = `${raw} * ${scale}`;
    if (op.mask === 'causal') return `select(${scaled}, ${minusInfinity}, ${key} > ${row})`;
    if (!mask) return scaled;
    const position = ['b', 'h', `(${row})`, `(${key})`]
      .flatMap((t, i) => (maskStrides![i] === 0 ? [] : [`${t} * ${s.u32(`mask_s${i}`, maskStrides![i]!)}`]))
      .join(' + ');
    return `${scaled} + ${mask.get(position || '0u')}`;
  };
  const base = (i: number): string => `let ${names[i]}_base = b * ${unit(i, 0)} + h * ${unit(i, 1)};`;
  return {
    s,
    op,
    d,
    q: accesses[0]!,
    k: accesses[1]!,
    v: accesses[2]!,
    y,
    quad,
    put,
    score,
    bases: `let b = head / ${s.u32('heads', heads)}; let h = head % ${s.u32('heads', heads)};
  ${[0, 1, 2, 3].map(base).join(' ')}`,
    keys: s.u32('keys', keys),
    queries: s.u32('queries', l),
  };
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** `per`: queries that one invocation owns. Each key read from workgroup memory serves them all. */
function rows(
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
  per: number,
): KernelPlan {
  const p = problem(`attention/rows${per}`, op, args, traits, wide);
  const { s } = p;
  const [b, heads, l] = args[0]!.layout.shape as [number, number, number];
  const threads = 64;
  const quads = Math.ceil(p.d / 4);
  // Keys in workgroup memory at a time: what fits in the 16 KiB that every device has, scores included.
  const keys = Math.min(32, 4 * Math.floor(16384 / (quads * 32 + threads * per * 4) / 4));
  s.shared('ks', 'vec4<f32>', keys * quads);
  s.shared('vs', 'vec4<f32>', keys * quads);
  s.shared('scores', 'f32', keys * per * threads); // a column an invocation and query, only its own
  const blocks = Math.ceil(l / (threads * per));
  const infinity = `bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  /** The text for every query (and quad), one after the other. */
  const each = (text: (r: number) => string): string => range(per).map(text).join('\n      ');
  const all = (text: (r: number, i: number) => string): string =>
    each((r) =>
      range(quads)
        .map((i) => text(r, i))
        .join(' '),
    );
  const body = `let head = group / ${s.u32('blocks', blocks)};
  let first_row = group % ${s.u32('blocks', blocks)} * ${threads * per}u + tid;
  ${p.bases}
  ${each((r) => `let row${r} = first_row + ${r * threads}u; let mine${r} = min(row${r}, ${p.queries} - 1u);`)}
  ${all((r, i) => `let q${r}_${i} = ${p.quad('q', `mine${r}`, `${i}u`)}; var o${r}_${i} = vec4<f32>();`)}
  ${each((r) => `var highest${r} = -${infinity}; var total${r} = 0.0;`)}
  for (var first = 0u; first < ${p.keys}; first += ${keys}u) {
    let count = min(${keys}u, ${p.keys} - first);
    for (var c = tid; c < count * ${quads}u; c += ${threads}u) {
      let key = first + c / ${quads}u;
      ks[c] = ${p.quad('k', 'key', `c % ${quads}u`)};
      vs[c] = ${p.quad('v', 'key', `c % ${quads}u`)};
    }
    workgroupBarrier();
    ${each((r) => `var next${r} = highest${r};`)}
    for (var j = 0u; j < count; j++) {
      let at = j * ${quads}u;
      ${each((r) => `var sum${r} = vec4<f32>();`)}
      ${range(quads)
        .map(
          (i) =>
            `{ let k = ks[at + ${i}u]; ${range(per)
              .map((r) => `sum${r} = fma(q${r}_${i}, k, sum${r});`)
              .join(' ')} }`,
        )
        .join('\n      ')}
      ${each(
        (r) => `let raw${r} = sum${r}.x + sum${r}.y + sum${r}.z + sum${r}.w;
      let score${r} = ${p.score(`raw${r}`, `mine${r}`, '(first + j)')};
      scores[(j * ${per}u + ${r}u) * ${threads}u + tid] = score${r};
      next${r} = max(next${r}, score${r});`,
      )}
    }
    ${each(
      (r) => `let origin${r} = select(next${r}, 0.0, next${r} == -${infinity});
    let keep${r} = exp(highest${r} - origin${r});
    highest${r} = next${r};
    total${r} = total${r} * keep${r};`,
    )}
    ${all((r, i) => `o${r}_${i} = o${r}_${i} * keep${r};`)}
    for (var j = 0u; j < count; j++) {
      let at = j * ${quads}u;
      ${each(
        (r) => `let weight${r} = exp(scores[(j * ${per}u + ${r}u) * ${threads}u + tid] - origin${r});
      total${r} += weight${r};`,
      )}
      ${range(quads)
        .map(
          (i) =>
            `{ let v = vs[at + ${i}u]; ${range(per)
              .map((r) => `o${r}_${i} = fma(vec4<f32>(weight${r}), v, o${r}_${i});`)
              .join(' ')} }`,
        )
        .join('\n      ')}
    }
    workgroupBarrier();
  }
  ${each(
    (r) =>
      `if (row${r} < ${p.queries}) { ${range(quads)
        .map((i) => p.put(`row${r}`, `${i}u`, `o${r}_${i} / total${r}`))
        .join(' ')} }`,
  )}`;
  return { passes: [s.pass(threads, b * heads * blocks, body)] };
}

function blocks(op: AttentionOp, args: readonly ArgSpec[], traits: Traits, wide: boolean): KernelPlan {
  const p = problem('attention/blocks', op, args, traits, wide);
  const { s } = p;
  const [b, heads, l] = args[0]!.layout.shape as [number, number, number];
  // 16 invocations for each of 16 queries: they share a query's keys, then its head.
  const [lanes, queries, keys] = [16, 16, 32];
  const threads = lanes * queries;
  const quads = Math.ceil(p.d / 4);
  const chunk = Math.min(8, quads); // quads of the head in workgroup memory at a time
  const mine = Math.ceil(quads / lanes);
  s.shared('qs', 'vec4<f32>', queries * chunk);
  s.shared('ks', 'vec4<f32>', keys * chunk);
  s.shared('ps', 'f32', queries * keys);
  acrossLanes(s, 'row_max', lanes, threads, 'max(a, b)');
  acrossLanes(s, 'row_sum', lanes, threads, 'a + b');
  const blockCount = Math.ceil(l / queries);
  const infinity = `bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  const load = (name: string, count: number, row: string): string =>
    `for (var c = tid; c < ${count * chunk}u; c += ${threads}u) {
        let at = d0 + c % ${chunk}u;
        ${name}s[c] = select(vec4<f32>(), ${p.quad(name as 'q', row, `min(at, ${quads - 1}u)`)}, at < ${quads}u);
      }`;
  const masked = (j: number): string =>
    `select(-${infinity}, ${p.score(`dot${j}`, 'safe', `min(first + lane + ${j * lanes}u, ${p.keys} - 1u)`)}, first + lane + ${j * lanes}u < ${p.keys})`;
  const body = `let head = group / ${s.u32('blocks', blockCount)};
  let block = group % ${s.u32('blocks', blockCount)} * ${queries}u;
  let lane = tid % ${lanes}u;
  let ty = tid / ${lanes}u;
  let row = block + ty;
  let safe = min(row, ${p.queries} - 1u);
  ${p.bases}
  ${range(mine)
    .map((i) => `var o${i} = vec4<f32>();`)
    .join(' ')}
  var highest = -${infinity};
  var total = 0.0;
  for (var first = 0u; first < ${p.keys}; first += ${keys}u) {
    var dot0 = 0.0;
    var dot1 = 0.0;
    for (var d0 = 0u; d0 < ${quads}u; d0 += ${chunk}u) {
      ${load('q', queries, `min(block + c / ${chunk}u, ${p.queries} - 1u)`)}
      ${load('k', keys, `min(first + c / ${chunk}u, ${p.keys} - 1u)`)}
      workgroupBarrier();
      for (var i = 0u; i < ${chunk}u; i++) {
        let four = qs[ty * ${chunk}u + i];
        dot0 += dot(four, ks[lane * ${chunk}u + i]);
        dot1 += dot(four, ks[(lane + ${lanes}u) * ${chunk}u + i]);
      }
      workgroupBarrier();
    }
    let s0 = ${masked(0)};
    let s1 = ${masked(1)};
    let next = max(highest, row_max(tid, max(s0, s1)));
    let origin = select(next, 0.0, next == -${infinity});
    let keep = exp(highest - origin);
    highest = next;
    let p0 = exp(s0 - origin);
    let p1 = exp(s1 - origin);
    ps[ty * ${keys}u + lane] = p0;
    ps[ty * ${keys}u + lane + ${lanes}u] = p1;
    total = total * keep + row_sum(tid, p0 + p1);
    ${range(mine)
      .map((i) => `o${i} = o${i} * keep;`)
      .join(' ')}
    for (var j = 0u; j < min(${keys}u, ${p.keys} - first); j++) {
      let weight = ps[ty * ${keys}u + j];
      ${range(mine)
        .map(
          (i) => `o${i} += weight * ${p.quad('v', 'first + j', `min(lane + ${i * lanes}u, ${quads - 1}u)`)};`,
        )
        .join('\n      ')}
    }
  }
  if (row < ${p.queries}) {
    ${range(mine)
      .map(
        (i) =>
          `if (lane + ${i * lanes}u < ${quads}u) { ${p.put('row', `(lane + ${i * lanes}u)`, `o${i} / total`)} }`,
      )
      .join('\n    ')}
  }`;
  return { passes: [s.pass(threads, b * heads * blockCount, body)] };
}

export const attention: KernelFactory<AttentionOp> = {
  choices(op, args, traits) {
    const d = args[0]!.layout.shape[3]!;
    if (args[1]!.layout.shape[2] === 0 || d === 0) return []; // no keys: the definition says what comes out
    const wide = traits.invocations >= 256 ? ['blocks'] : [];
    if (d > widestRow) return wide;
    // Several queries an invocation: fewer loads, more registers. A software device has the registers.
    const quads = Math.ceil(d / 4);
    const several = args[0]!.layout.shape[2]! > 64 ? [4, 2].filter((per) => per * quads <= mostQuads) : [];
    const ids = several.map((per) => `rows${per}`);
    return traits.unroll ? ['rows1', ...ids, ...wide] : [...ids, 'rows1', ...wide];
  },
  prepare(op, args, choice, traits, wide) {
    if (elementCount(args.at(-1)!.layout.shape) === 0 || span(args[0]!.layout) === 0) return { passes: [] };
    if (choice === 'blocks') return blocks(op, args, traits, wide);
    return rows(op, args, traits, wide, Number(choice.slice('rows'.length)));
  },
};
