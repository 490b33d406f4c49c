// The tiled product on tensor cores whose operands both lie with k adjacent in aligned pieces of 16 bytes, as weights
// and channels-last activations do: pieces go to workgroup memory past the registers (cp.async), several tiles ahead of
// the one that is multiplied. Several workgroups may share a sum; a second dispatch then adds their parts. CUDA C++, as
// strided-product.ts, which serves all other operands.

import type { ArgSpec } from '@darkroom/core/backend';
import { dtypes } from '@darkroom/core';
import { flatThreads, groupsFor, resultStore, Shader } from '@darkroom/gpu-kernels';
import type { KernelSpec, KernelDispatch, ResultPlace } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../../traits.ts';
import { fragmentBytes, fragmentsOf, storeFragments } from './fragments.ts';
import type { TensorElement, TensorPick } from './tiles.ts';

/** Bytes of a tile's row: two steps of the matrix instruction. */
const rowBytes = 64;
/** Bytes between rows: eight rows then lie in different banks. */
const stride = rowBytes + 16;
const pieces = rowBytes / 16;

/** Elements of k in a tile. */
export const directDepth = (element: TensorElement): number => rowBytes / (element === 'tf32' ? 4 : 2);

export interface DirectOperand {
  /**
   * Statements that prepare row `index` (of A) or column `index` (of B), which may lie past the end; names end in
   * `slot`.
   */
  setup(slot: string, index: string): string;
  /** Number of the 16-byte piece of the argument that holds element `k` of the cursor's tap. */
  piece(slot: string, k: string): string;
  /** Condition text: the row exists at the cursor. Default: always. */
  inside?(slot: string): string;
}

export interface DirectProblem {
  readonly label: string;
  readonly element: TensorElement;
  readonly pick: TensorPick;
  readonly m: number;
  readonly n: number;
  readonly stacks: number;
  /** Length of one tap's sum, and the number of taps. */
  readonly k: number;
  readonly taps: number;
  /**
   * Texts of the kernel that multiplies. `stack` declares what they, and those of `result`, use of `stack`; `start`
   * declares the cursor at tap `index`, `next` moves it on by one.
   */
  operands(s: Shader): {
    readonly stack: string;
    readonly start: (index: string) => string;
    readonly next: string;
    readonly a: DirectOperand;
    readonly b: DirectOperand;
  };
  /** The store of results; `stack` is for a kernel that only stores. */
  result(s: Shader): { readonly stack: string; readonly place: ResultPlace };
}

/** Tiles under way at once: two workgroups then fit a processor. */
function stagesFor(stageBytes: number, poolBytes: number): number {
  return Math.max(2, Math.min(4, Math.floor(poolBytes / 2 / stageBytes)));
}

export function directProduct(args: readonly ArgSpec[], traits: CudaTraits, p: DirectProblem): KernelSpec {
  const { tile, splits } = p.pick;
  const [tilesM, tilesN] = [Math.ceil(p.m / tile.m), Math.ceil(p.n / tile.n)];
  const s = new Shader(traits, `${p.label} direct`, args);
  const groups = p.stacks * splits * tilesM * tilesN;
  if (splits === 1) {
    const put = resultStore(s, args, p.result(s).place);
    const edge = (row: string, col: string, v: string): string =>
      `if (${row} < ${s.u32('m', p.m)} && ${col} < ${s.u32('n', p.n)}) { ${put(row, col, v)} }`;
    return { dispatches: [multiply(s, traits, p, groups, [tilesM, tilesN], edge)] };
  }
  // Parts are whole tiles, so that nothing is cut off between the dispatches.
  const [rows, columns] = [tilesM * tile.m, tilesN * tile.n];
  const elements = splits * p.stacks * rows * columns;
  const parts = s.scratch(0, elements, 'write', 4);
  const [ROWS, QUADS] = [s.u32('rows', rows), s.u32('quads', columns / 4)];
  const keep = (row: string, col: string, v: string): string =>
    parts.set(`(part * ${ROWS} + ${row}) * ${QUADS} + ${col} / 4u`, v);
  return {
    dispatches: [
      multiply(s, traits, p, groups, [tilesM, tilesN], keep),
      addParts(args, traits, p, rows, columns),
    ],
    scratch: [4 * elements],
  };
}

/** The dispatch that multiplies; `put` stores a quad of its results, and sees `stack` and `part`. */
// eslint-disable-next-line max-lines-per-function -- one kernel's text, read from top to bottom
function multiply(
  s: Shader,
  traits: CudaTraits,
  p: DirectProblem,
  groups: number,
  [tilesM, tilesN]: readonly [number, number],
  put: (row: string, col: string, v: string) => string,
): KernelDispatch {
  const { element } = p;
  const { tile: t, splits } = p.pick;
  const { threads, mi, nj, setup } = fragmentsOf(t);
  const per = element === 'tf32' ? 4 : 8; // elements of a piece
  const depth = directDepth(element);
  const steps = Math.ceil(p.k / depth);
  const exact = p.k % depth === 0;
  const iterations = p.taps * steps;
  const stageBytes = (t.m + t.n) * stride;
  const stages = stagesFor(stageBytes, traits.poolBytes);
  s.pool(Math.max(stages * stageBytes, fragmentBytes(t)));
  const { stack, start, next, a, b } = p.operands(s);
  const [K, STEPS] = [s.u32('k', p.k), s.u32('steps', steps)];
  const [from0, from1] = [s.pieces(0), s.pieces(1)];
  const apart = threads / pieces; // rows between two pieces of a thread
  const slots = (rows: number): number[] => Array.from({ length: rows / apart }, (_, i) => i);
  const fetch = (o: DirectOperand, name: string, from: string, rows: number, below: number): string =>
    slots(rows)
      .map((i) => {
        const inside = [exact ? '' : `k0 + own_k < ${K}`, o.inside?.(`${name}${i}`) ?? ''].filter(Boolean);
        const valid = inside.length === 0 ? '16' : `${inside.join(' && ')} ? 16 : 0`;
        const at = o.piece(`${name}${i}`, '(k0 + own_k)');
        // The address must be inside the argument also where nothing is read.
        const safe = inside.length === 0 ? at : `(${inside.join(' && ')} ? ${at} : 0u)`;
        return `copyAsync<16>(to + ${(below + i * apart) * stride}, ${from} + ${safe}, ${valid});`;
      })
      .join('\n    ');
  const toTf32 = (name: string, count: number): string =>
    element === 'tf32'
      ? `
      #pragma unroll
      for (int i = 0; i < ${count}; i++) ${name}[i] = toTf32(__uint_as_float(${name}[i]));`
      : '';
  const mma = { f16: 'mmaF16', bf16: 'mmaBf16', tf32: 'mmaTf32' }[element];
  const [SPLITS, EACH] = [s.u32('splits', splits), s.u32('each', Math.ceil(iterations / splits))];
  const body = `u32 tile_col = group % ${s.u32('tiles_n', tilesN)};
  u32 tile_row = group / ${s.u32('tiles_n', tilesN)} % ${s.u32('tiles_m', tilesM)};
  u32 part = group / ${s.u32('tiles', tilesM * tilesN)};
  u32 stack = part / ${SPLITS};
  u32 row0 = tile_row * ${t.m}u;
  u32 col0 = tile_col * ${t.n}u;
  ${setup}
  ${stack}
  // A thread brings one piece of every ${apart}th row.
  u32 own = tid / ${pieces}u;
  u32 own_k = tid % ${pieces}u * ${per}u;
  ${slots(t.m)
    .map((i) => a.setup(`a${i}`, `(row0 + own + ${i * apart}u)`))
    .join('\n  ')}
  ${slots(t.n)
    .map((i) => b.setup(`b${i}`, `(col0 + own + ${i * apart}u)`))
    .join('\n  ')}
  // The cursor: the position in the sum of the next tile to fetch.
  u32 first = part % ${SPLITS} * ${EACH};
  u32 count = min(${EACH}, ${s.u32('iterations', iterations)} - min(first, ${s.u32('iterations', iterations)}));
  u32 step = first % ${STEPS};
  u32 k0 = step * ${depth}u;
  ${start(`(first / ${STEPS})`)}
  auto fetch = [&](u32 stage) {
    char* to = pool + stage * ${stageBytes}u + own * ${stride}u + tid % ${pieces}u * 16u;
    ${fetch(a, 'a', from0, t.m, 0)}
    ${fetch(b, 'b', from1, t.n, t.m)}
    k0 += ${depth}u;
    step++;
    if (step == ${STEPS}) { step = 0u; k0 = 0u; ${next} }
  };
  #pragma unroll
  for (u32 i = 0u; i < ${stages - 1}u; i++) {
    if (i < count) { fetch(i); }
    copyCommit();
  }
  const char* a_at = pool + (warp_row + lane % 16u) * ${stride}u + lane / 16u * 16u;
  const char* b_at = pool + (${t.m}u + warp_col + lane % 8u + lane / 16u * 8u) * ${stride}u + lane / 8u % 2u * 16u;
  float acc[${mi}][${nj}][4] = {};
  u32 now = 0u;
  u32 ahead = ${stages - 1}u;
  for (u32 it = 0u; it < count; it++) {
    copyWait<${stages - 2}>();
    workgroupBarrier(); // the tile is there for all, and all have left the one that is overwritten now
    if (it + ${stages - 1}u < count) { fetch(ahead); }
    copyCommit();
    #pragma unroll
    for (u32 kk = 0u; kk < ${rowBytes}u; kk += 32u) {
      u32 fa[${4 * mi}];
      u32 fb[${2 * nj}];
      #pragma unroll
      for (int i = 0; i < ${mi}; i++) loadMatrix4(fa + 4 * i, a_at + now * ${stageBytes}u + i * ${16 * stride} + kk);
      #pragma unroll
      for (int j = 0; j < ${nj}; j += 2) loadMatrix4(fb + 2 * j, b_at + now * ${stageBytes}u + j * ${8 * stride} + kk);
      ${toTf32('fa', 4 * mi)}${toTf32('fb', 2 * nj)}
      #pragma unroll
      for (int i = 0; i < ${mi}; i++)
        #pragma unroll
        for (int j = 0; j < ${nj}; j++) ${mma}(acc[i][j], fa + 4 * i, fb + 2 * j);
    }
    now = now == ${stages - 1}u ? 0u : now + 1u;
    ahead = ahead == ${stages - 1}u ? 0u : ahead + 1u;
  }
  copyWaitAll();
  workgroupBarrier();
  ${storeFragments(t, 'reinterpret_cast<float*>(pool)', put)}`;
  return s.dispatch(threads, groups, body);
}

/** The dispatch that adds the parts of every sum and stores it. */
function addParts(
  args: readonly ArgSpec[],
  traits: CudaTraits,
  p: DirectProblem,
  rows: number,
  columns: number,
): KernelDispatch {
  const { splits } = p.pick;
  const s = new Shader(traits, `${p.label} parts`, args);
  const { stack, place } = p.result(s);
  const put = resultStore(s, args, place);
  const parts = s.scratch(0, splits * p.stacks * rows * columns, 'read', 4);
  const across = Math.ceil(p.n / 4);
  const count = p.stacks * p.m * across;
  const [M, ACROSS] = [s.u32('m', p.m), s.u32('across', across)];
  const body = `u32 flat = group * ${flatThreads}u + tid;
  if (flat >= ${s.u32('count', count)}) { return; }
  u32 col = flat % ${ACROSS} * 4u;
  u32 row = flat / ${ACROSS} % ${M};
  u32 stack = flat / ${ACROSS} / ${M};
  ${stack}
  vec4<f32> sum = vec4<f32>(0.0f);
  for (u32 i = 0u; i < ${s.u32('splits', splits)}; i++) {
    sum += ${parts.get(`((stack * ${s.u32('splits', splits)} + i) * ${s.u32('rows', rows)} + row) * ${s.u32('quads', columns / 4)} + col / 4u`)};
  }
  ${put('row', 'col', 'sum')}`;
  return s.dispatch(flatThreads, groupsFor(count), body);
}

/** True if an argument can be read in pieces of 16 bytes at multiples of these strides. */
export const inPieces = (arg: ArgSpec, ...strides: readonly number[]): boolean =>
  strides.every((x) => (x * dtypes[arg.dtype].bytes) % 16 === 0);
