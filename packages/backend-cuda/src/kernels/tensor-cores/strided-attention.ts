// Attention on tensor cores: FlashAttention-2 (Dao, 2023) with mma.m16n8k16. Four warps own 64 queries, 16 each; keys
// and values pass through workgroup memory; scores and results stay in registers, float32. Weights are rounded to the
// inputs' format before they meet the values. CUDA C++.

import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { attentionProblem } from '@darkroom/gpu-kernels';
import type { KernelSpec, Traits } from '@darkroom/gpu-kernels';

/** Widest head: its results and queries take 3/4 of it in registers. */
export const widestStridedHead = 256;

const queries = 64;
const threads = 128;

/** Attention of q, k and v of `element` in any layout. */
// eslint-disable-next-line max-lines-per-function -- one kernel's text, read from top to bottom
export function stridedAttention(
  op: AttentionOp,
  args: readonly ArgSpec[],
  traits: Traits,
  wide: boolean,
  element: 'f16' | 'bf16',
): KernelSpec {
  const p = attentionProblem(`attention/mma`, op, args, traits, wide);
  const { s } = p;
  const [b, heads, l, d] = args[0]!.layout.shape as [number, number, number, number];
  const quads = Math.ceil(d / 4);
  const depth = Math.ceil(d / 16); // steps of 16 along the head; what is beyond it is zero
  const keys = d <= 160 ? 64 : d <= 240 ? 32 : 16; // fits 48 KiB of workgroup memory
  const stride = depth * 16 + 8; // padded: rows start in different banks
  const rowQuads = stride / 4;
  const tileWords = (Math.max(queries, keys) * stride) / 8;
  s.shared('k_words', 'vec4<u32>', tileWords);
  s.shared('v_words', 'vec4<u32>', (keys * stride) / 8);
  const [mma, pack] = element === 'bf16' ? ['mmaBf16', 'packBf16'] : ['mmaF16', 'packF16'];
  const blocks = Math.ceil(l / queries);
  const infinity = `wgsl_bitcast<f32>(${s.u32('inf', 0x7f800000)})`;
  const nj = keys / 8;
  const load = (which: 'q' | 'k' | 'v', to: string, rows: number, row: string): string =>
    `for (u32 c = tid; c < ${rows * depth * 4}u; c += ${threads}u) {
      u32 r = c / ${depth * 4}u;
      u32 at = c % ${depth * 4}u;
      vec4<f32> value = vec4<f32>(0.0f);
      if (at < ${quads}u) { value = ${p.quad(which, row, 'at')}; }
      ${to}[r * ${rowQuads}u + at] = vec4<${element}>(value);
    }`;
  /** For both rows of a fragment: r is 0 or 1, `row` its query. */
  const body = `u32 head = group / ${s.u32('blocks', blocks)};
  u32 first_row = group % ${s.u32('blocks', blocks)} * ${queries}u;
  ${p.bases}
  u32 lane = tid % 32u;
  u32 warp = tid / 32u;
  u32 own[2] = { first_row + warp * 16u + lane / 4u, first_row + warp * 16u + lane / 4u + 8u };
  u32 safe[2] = { min(own[0], ${p.queries} - 1u), min(own[1], ${p.queries} - 1u) };
  vec4<${element}>* k_tile = reinterpret_cast<vec4<${element}>*>(k_words);
  vec4<${element}>* v_tile = reinterpret_cast<vec4<${element}>*>(v_words);
  const u16* q_at = reinterpret_cast<const u16*>(k_words) + (warp * 16u + lane % 16u) * ${stride}u + lane / 16u * 8u;
  const u16* k_at = reinterpret_cast<const u16*>(k_words) + lane % 8u * ${stride}u + lane / 8u % 2u * 8u;
  const u16* v_at = reinterpret_cast<const u16*>(v_words) + lane % 16u * ${stride}u;
  // Queries come through the keys' memory into registers, once.
  ${load('q', 'k_tile', queries, `min(first_row + r, ${p.queries} - 1u)`)}
  workgroupBarrier();
  u32 fq[${depth}][4];
  #pragma unroll
  for (int i = 0; i < ${depth}; i++) loadMatrix4(fq[i], q_at + i * 16);
  workgroupBarrier();
  float acc[${depth * 2}][4] = {};
  float highest[2] = { -${infinity}, -${infinity} };
  float total[2] = { 0.0f, 0.0f };
  for (u32 first = 0u; first < ${p.keys}; first += ${keys}u) {
    ${load('k', 'k_tile', keys, `min(first + r, ${p.keys} - 1u)`)}
    ${load('v', 'v_tile', keys, `min(first + r, ${p.keys} - 1u)`)}
    workgroupBarrier();
    float score[${nj}][4] = {};
    #pragma unroll
    for (int i = 0; i < ${depth}; i++)
      #pragma unroll
      for (int j = 0; j < ${nj}; j++) {
        u32 fk[2];
        loadMatrix2(fk, k_at + j * ${8 * stride} + i * 16);
        ${mma}(score[j], fq[i], fk);
      }
    float next[2] = { highest[0], highest[1] };
    #pragma unroll
    for (int j = 0; j < ${nj}; j++)
      #pragma unroll
      for (int c = 0; c < 4; c++) {
        u32 key = first + u32(j) * 8u + lane % 4u * 2u + u32(c % 2);
        float raw = score[j][c];
        score[j][c] = key < ${p.keys} ? ${p.score('raw', 'safe[c / 2]', `min(key, ${p.keys} - 1u)`)} : -${infinity};
        next[c / 2] = max(next[c / 2], score[j][c]);
      }
    #pragma unroll
    for (int r = 0; r < 2; r++) {
      // The four lanes of a row.
      next[r] = max(next[r], __shfl_xor_sync(0xffffffffu, next[r], 1));
      next[r] = max(next[r], __shfl_xor_sync(0xffffffffu, next[r], 2));
      float origin = next[r] == -${infinity} ? 0.0f : next[r];
      float keep = fastExp2((highest[r] - origin) * 1.44269504f);
      highest[r] = next[r];
      next[r] = origin;
      total[r] *= keep;
      #pragma unroll
      for (int j = 0; j < ${depth * 2}; j++) { acc[j][2 * r] *= keep; acc[j][2 * r + 1] *= keep; }
    }
    #pragma unroll
    for (int j = 0; j < ${nj}; j++)
      #pragma unroll
      for (int c = 0; c < 4; c++) {
        score[j][c] = fastExp2((score[j][c] - next[c / 2]) * 1.44269504f);
        total[c / 2] += score[j][c];
      }
    #pragma unroll
    for (int i = 0; i < ${keys / 16}; i++) {
      u32 fp[4] = { ${pack}(score[2 * i][0], score[2 * i][1]), ${pack}(score[2 * i][2], score[2 * i][3]),
                    ${pack}(score[2 * i + 1][0], score[2 * i + 1][1]), ${pack}(score[2 * i + 1][2], score[2 * i + 1][3]) };
      #pragma unroll
      for (int j = 0; j < ${depth * 2}; j++) {
        u32 fv[2];
        loadMatrix2Transposed(fv, v_at + i * ${16 * stride} + j * 8);
        ${mma}(acc[j], fp, fv);
      }
    }
    workgroupBarrier();
  }
  #pragma unroll
  for (int r = 0; r < 2; r++) {
    total[r] += __shfl_xor_sync(0xffffffffu, total[r], 1);
    total[r] += __shfl_xor_sync(0xffffffffu, total[r], 2);
  }
  // Two neighbouring lanes hold four columns of two rows: the even one takes the upper row, the odd one the lower.
  bool odd = lane % 2u == 1u;
  u32 row = odd ? own[1] : own[0];
  float sum = odd ? total[1] : total[0];
  #pragma unroll
  for (int j = 0; j < ${depth * 2}; j++) {
    float given0 = __shfl_xor_sync(0xffffffffu, odd ? acc[j][0] : acc[j][2], 1);
    float given1 = __shfl_xor_sync(0xffffffffu, odd ? acc[j][1] : acc[j][3], 1);
    vec4<f32> value = odd ? vec4<f32>(given0, given1, acc[j][2], acc[j][3]) : vec4<f32>(acc[j][0], acc[j][1], given0, given1);
    u32 at = u32(j) * 2u + lane % 4u / 2u;
    if (row < ${p.queries} && at < ${quads}u) { ${p.put('row', 'at', 'value / sum')} }
  }`;
  return { dispatches: [s.dispatch(threads, b * heads * blocks, body)] };
}
