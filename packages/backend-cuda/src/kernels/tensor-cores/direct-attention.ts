// FlashAttention-2 (Dao, 2023) on tensor cores for heads that lie in aligned pieces of 16 bytes: queries, keys and
// values go to workgroup memory past the registers (cp.async), the next keys and values while the present ones are
// multiplied. A warp owns 16 queries or 32; heads wider than 256 are shared by pairs of warps, each with half of the
// result. CUDA C++, as strided-attention.ts, which serves all other layouts.

import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { attentionProblem } from '@darkroom/gpu-kernels';
import type { KernelSpec } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../../traits.ts';
import { inPieces } from './direct-product.ts';

const warps = 4;
const threads = 32 * warps;

/** Division of a head's width among warps, registers and workgroup memory. */
interface Shape {
  /** Steps of 16 along the head; what lies beyond it is zero. */
  readonly depth: number;
  /** Warps that share their queries, each with a part of the result's columns. */
  readonly share: number;
  /** Groups of 16 queries a warp. */
  readonly mt: number;
  readonly queries: number;
  /** Keys of a tile. */
  readonly keys: number;
  /** Queries stay in registers, or are read again for every tile. */
  readonly held: boolean;
  /** Bytes between rows: eight rows lie in different banks. */
  readonly stride: number;
  /** Tiles of keys and values under way. */
  readonly stages: number;
  readonly poolBytes: number;
}

function shapeOf(d: number, traits: CudaTraits): Shape | undefined {
  const depth = Math.ceil(d / 16);
  const share = d > 256 ? 2 : 1;
  const mt = d <= 64 ? 2 : 1;
  const queries = (16 * mt * warps) / share;
  const stride = depth * 32 + 16;
  const room = traits.poolBytes;
  for (const [keys, stages] of [
    [64, 2],
    [32, 2],
    [32, 1],
    [16, 1],
  ] as const) {
    if (d > 128 && keys > 32) continue; // scores and results crowd the registers
    // The last pair of columns of a shared head may reach past the end of the last row.
    const poolBytes = (queries + 2 * stages * keys) * stride + 64;
    if (poolBytes <= room)
      return { depth, share, mt, queries, keys, held: d <= 160, stride, stages, poolBytes };
  }
  return undefined;
}

/** True if q, k and v are all in aligned pieces and a workgroup's memory holds their tiles. */
export function isDirectAttention(args: readonly ArgSpec[], traits: CudaTraits): boolean {
  const d = args[0]!.layout.shape[3]!;
  return (
    d % 8 === 0 &&
    d <= 512 &&
    shapeOf(d, traits) !== undefined &&
    args.slice(0, 3).every((x) => x.layout.strides[3] === 1 && inPieces(x, ...x.layout.strides.slice(0, 3)))
  );
}

/**
 * Attention of q, k and v of `element`, for which isDirectAttention holds and slices start at multiples of 16 bytes.
 */
// eslint-disable-next-line max-lines-per-function -- one kernel's text, read from top to bottom
export function directAttention(
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: CudaTraits,
  element: 'f16' | 'bf16',
): KernelSpec {
  const p = attentionProblem(`attention/direct`, op, args, traits, true);
  const { s } = p;
  const [b, heads, l, d] = args[0]!.layout.shape as [number, number, number, number];
  const { depth, share, mt, queries, keys, held, stride, stages, poolBytes } = shapeOf(d, traits)!;
  s.pool(poolBytes);
  const [mma, pack] = element === 'bf16' ? ['mmaBf16', 'packBf16'] : ['mmaF16', 'packF16'];
  const rowPieces = d / 8;
  const nj = keys / 8;
  const columns = Math.ceil(d / 8 / share / 2) * 2; // tiles of 8 columns of a warp's part, by pairs
  const blocks = Math.ceil(l / queries);
  const infinity = `wgsl_bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  const tileBytes = keys * stride;
  const from = (['q', 'k', 'v'] as const).map((name, i) => {
    const unit = (dim: number): string => s.u32(`${name}_p${dim}`, args[i]!.layout.strides[dim]! / 8);
    return { base: `${s.pieces(i)} + (b * ${unit(0)} + h * ${unit(1)})`, row: unit(2) };
  });
  /** Loads `rows` rows from `first` on; rows past the end repeat the last one, and their results are dropped. */
  const bring = (which: 0 | 1 | 2, to: string, rows: number, first: string, last: string): string =>
    `for (u32 c = tid; c < ${rows * rowPieces}u; c += ${threads}u) {
      u32 r = c / ${rowPieces}u;
      u32 at = c % ${rowPieces}u;
      copyAsync<16>(${to} + r * ${stride}u + at * 16u, ${'qkv'[which]}_from + min(${first} + r, ${last} - 1u) * ${from[which]!.row} + at);
    }`;
  // A positive scale, without a mask, joins the scale of the exponent.
  const bare = op.mask === 'none' && op.scale > 0;
  const log2e = Math.LOG2E;
  const factor = bare ? s.f32('factor', op.scale * log2e) : s.f32('factor', log2e);
  const bounded = (score: string): string => `key < ${p.keys} ? ${score} : -${infinity}`;
  const scoreOf = bare
    ? `if (first + ${keys}u > ${p.keys}) { score[t][j][c] = ${bounded('score[t][j][c]')}; }`
    : `float raw = score[t][j][c];
        score[t][j][c] = ${bounded(p.score('raw', 'safe[t][c / 2]', `min(key, ${p.keys} - 1u)`))};`;
  const loadQ = (i: string): string =>
    `for (int t = 0; t < ${mt}; t++) loadMatrix4(fq + 4 * (t * ${held ? depth : 1} + ${held ? i : '0'}), q_at + t * ${16 * stride} + ${i} * 32);`;
  // Keys after the last query of the workgroup have no weight.
  const end = op.mask === 'causal' ? `min(${p.keys}, first_row + ${queries}u)` : p.keys;
  const body = `u32 head = group / ${s.u32('blocks', blocks)};
  u32 first_row = group % ${s.u32('blocks', blocks)} * ${queries}u;
  ${p.bases}
  u32 lane = tid % 32u;
  u32 row_of_warp = tid / ${32 * share}u * ${16 * mt}u;
  u32 column0 = tid / 32u % ${share}u * ${columns}u; // in tiles of 8
  const vec4<u32>* q_from = ${from[0]!.base};
  const vec4<u32>* k_from = ${from[1]!.base};
  const vec4<u32>* v_from = ${from[2]!.base};
  char* k_tiles = pool + ${queries * stride};
  char* v_tiles = k_tiles + ${stages * tileBytes};
  u32 end = ${end};
  // Copies never touch the padding between a head's end and the next multiple of 16, which must be zero.
  ${
    d % 16 === 0
      ? ''
      : `for (u32 r = tid; r < ${queries + 2 * stages * keys}u; r += ${threads}u) {
    *reinterpret_cast<vec4<u32>*>(pool + r * ${stride}u + ${d * 2}u) = vec4<u32>(0u);
  }`
  }
  auto bring = [&](u32 first, u32 stage) {
    ${bring(1, `(k_tiles + stage * ${tileBytes}u)`, keys, 'first', p.keys)}
    ${bring(2, `(v_tiles + stage * ${tileBytes}u)`, keys, 'first', p.keys)}
  };
  ${bring(0, 'pool', queries, 'first_row', p.queries)}
  bring(0u, 0u);
  copyCommit();
  u32 own[${mt}][2];
  u32 safe[${mt}][2];
  #pragma unroll
  for (int t = 0; t < ${mt}; t++)
    #pragma unroll
    for (int r = 0; r < 2; r++) {
      own[t][r] = first_row + row_of_warp + u32(t) * 16u + u32(r) * 8u + lane / 4u;
      safe[t][r] = min(own[t][r], ${p.queries} - 1u);
    }
  const char* q_at = pool + (row_of_warp + lane % 16u) * ${stride}u + lane / 16u * 16u;
  const char* k_at = k_tiles + (lane % 8u + lane / 16u * 8u) * ${stride}u + lane / 8u % 2u * 16u;
  const char* v_at = v_tiles + (lane % 16u) * ${stride}u + column0 * 16u + lane / 16u * 16u;
  u32 fq[${4 * mt * (held ? depth : 1)}];
  float acc[${mt}][${columns}][4] = {};
  float highest[${mt}][2];
  float total[${mt}][2];
  #pragma unroll
  for (int t = 0; t < ${mt}; t++)
    for (int r = 0; r < 2; r++) { highest[t][r] = -${infinity}; total[t][r] = 0.0f; }
  u32 stage = 0u;
  for (u32 first = 0u; first < end; first += ${keys}u) {
    copyWaitAll();
    workgroupBarrier(); // this tile is there for all, and all have left the one before
    ${held ? `if (first == 0u) {\n      #pragma unroll\n      for (int i = 0; i < ${depth}; i++) ${loadQ('i')}\n    }` : ''}
    ${stages === 2 ? `if (first + ${keys}u < end) { bring(first + ${keys}u, 1u - stage); }\n    copyCommit();` : ''}
    float score[${mt}][${nj}][4] = {};
    #pragma unroll
    for (int i = 0; i < ${depth}; i++) {
      ${held ? '' : loadQ('i')}
      #pragma unroll
      for (int j = 0; j < ${nj}; j += 2) {
        u32 fk[4];
        loadMatrix4(fk, k_at + stage * ${tileBytes}u + j * ${8 * stride} + i * 32);
        #pragma unroll
        for (int t = 0; t < ${mt}; t++) {
          ${mma}(score[t][j], fq + 4 * (t * ${held ? depth : 1} + ${held ? 'i' : '0'}), fk);
          ${mma}(score[t][j + 1], fq + 4 * (t * ${held ? depth : 1} + ${held ? 'i' : '0'}), fk + 2);
        }
      }
    }
    #pragma unroll
    for (int t = 0; t < ${mt}; t++) {
      float next[2] = { highest[t][0], highest[t][1] };
      #pragma unroll
      for (int j = 0; j < ${nj}; j++)
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          u32 key = first + u32(j) * 8u + lane % 4u * 2u + u32(c % 2);
          ${scoreOf}
          next[c / 2] = max(next[c / 2], score[t][j][c]);
        }
      #pragma unroll
      for (int r = 0; r < 2; r++) {
        // The four lanes of a row.
        next[r] = max(next[r], __shfl_xor_sync(0xffffffffu, next[r], 1));
        next[r] = max(next[r], __shfl_xor_sync(0xffffffffu, next[r], 2));
        float origin = next[r] == -${infinity} ? 0.0f : next[r];
        float keep = fastExp2((highest[t][r] - origin) * ${factor});
        highest[t][r] = next[r];
        next[r] = origin * ${factor};
        total[t][r] *= keep;
        #pragma unroll
        for (int j = 0; j < ${columns}; j++) { acc[t][j][2 * r] *= keep; acc[t][j][2 * r + 1] *= keep; }
      }
      #pragma unroll
      for (int j = 0; j < ${nj}; j++)
        #pragma unroll
        for (int c = 0; c < 4; c++) {
          score[t][j][c] = fastExp2(fma(score[t][j][c], ${factor}, -next[c / 2]));
          total[t][c / 2] += score[t][j][c];
        }
    }
    #pragma unroll
    for (int i = 0; i < ${keys / 16}; i++) {
      u32 fp[${mt}][4];
      #pragma unroll
      for (int t = 0; t < ${mt}; t++)
        #pragma unroll
        for (int r = 0; r < 4; r++)
          fp[t][r] = ${pack}(score[t][2 * i + r / 2][r % 2 * 2], score[t][2 * i + r / 2][r % 2 * 2 + 1]);
      #pragma unroll
      for (int j = 0; j < ${columns}; j += 2) {
        u32 fv[4];
        loadMatrix4Transposed(fv, v_at + stage * ${tileBytes}u + i * ${16 * stride} + j * 16);
        #pragma unroll
        for (int t = 0; t < ${mt}; t++) {
          ${mma}(acc[t][j], fp[t], fv);
          ${mma}(acc[t][j + 1], fp[t], fv + 2);
        }
      }
    }
    ${
      stages === 2
        ? 'stage = 1u - stage;'
        : `workgroupBarrier();
    if (first + ${keys}u < end) { bring(first + ${keys}u, 0u); }`
    }
  }
  // Two neighbouring lanes hold four columns of two rows: the even one takes the upper row, the odd one the lower.
  bool odd = lane % 2u == 1u;
  #pragma unroll
  for (int t = 0; t < ${mt}; t++) {
    #pragma unroll
    for (int r = 0; r < 2; r++) {
      total[t][r] += __shfl_xor_sync(0xffffffffu, total[t][r], 1);
      total[t][r] += __shfl_xor_sync(0xffffffffu, total[t][r], 2);
    }
    u32 row = odd ? own[t][1] : own[t][0];
    float sum = odd ? total[t][1] : total[t][0];
    #pragma unroll
    for (int j = 0; j < ${columns}; j++) {
      float given0 = __shfl_xor_sync(0xffffffffu, odd ? acc[t][j][0] : acc[t][j][2], 1);
      float given1 = __shfl_xor_sync(0xffffffffu, odd ? acc[t][j][1] : acc[t][j][3], 1);
      vec4<f32> value = odd ? vec4<f32>(given0, given1, acc[t][j][2], acc[t][j][3]) : vec4<f32>(acc[t][j][0], acc[t][j][1], given0, given1);
      u32 at = (column0 + u32(j)) * 2u + lane % 4u / 2u;
      if (row < ${p.queries} && at < ${d / 4}u) { ${p.put('row', 'at', 'value / sum')} }
    }
  }`;
  return { dispatches: [s.dispatch(threads, b * heads * blocks, body)] };
}
