// Attention with online softmax (Milakov & Gimelshein, 2018; Dao et al., 2022): the score matrix is never stored.
// 'rows': an invocation owns one query, keys and values pass through workgroup memory; for heads whose query and
// result fit in registers. 'blocks': a workgroup owns a block of queries and splits the head among its invocations;
// for wide heads (the VAE's 512).

import { elementCount, span } from '@darkroom/core/backend';
import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import type { Traits } from '../text/dispatch.ts';
import { attentionProblem } from './shared/attention-problem.ts';
import type { KernelFactory, KernelSpec } from './kernel.ts';
import { acrossLanes } from './shared/rows.ts';

/** Widest head of the 'rows' kernel: two vectors of it live in registers. */
const widestRow = 96;
/** Quads of queries that one invocation may own; compilers take time that grows with the square of more. */
const mostQuads = 40;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** `per`: queries that one invocation owns. Each key read from workgroup memory serves them all. */
function rows(
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
  per: number,
): KernelSpec {
  const p = attentionProblem(`attention/rows${per}`, op, args, traits, wide);
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
  return { dispatches: [s.dispatch(threads, b * heads * blocks, body)] };
}

function blocks(op: AttentionOp, args: readonly ArgSpec[], traits: Traits, wide: boolean): KernelSpec {
  const p = attentionProblem('attention/blocks', op, args, traits, wide);
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
  return { dispatches: [s.dispatch(threads, b * heads * blockCount, body)] };
}

/** attention on vector units. */
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
    return [...(traits.unroll ? ['rows1', ...ids] : [...ids, 'rows1']), ...wide];
  },
  prepare(op, args, choice, traits, wide) {
    if (elementCount(args.at(-1)!.layout.shape) === 0 || span(args[0]!.layout) === 0)
      return { dispatches: [] };
    if (choice === 'blocks') return blocks(op, args, traits, wide);
    return rows(op, args, traits, wide, Number(choice.slice('rows'.length)));
  },
};
