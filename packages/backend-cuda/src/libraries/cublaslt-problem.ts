// A matmul op as cuBLASLt's column-major problem: pure, so that it is tested without the library.
//
// A row-major matrix is the column-major one of its transpose. Where the result's rows lie in memory one after the
// other, cuBLASLt is asked for the transposed product: D = outᵀ = bᵀ·aᵀ, so its A is our b and its B our a.

import { dtypes } from '@darkroom/core';
import type { DType, Layout } from '@darkroom/core';
import type { ArgSpec, MatmulOp } from '@darkroom/core/backend';
import { collapse } from '@darkroom/gpu-kernels';
import { cublasCompute, cublasEpilogue, cublasType } from '../node/native.ts';
import type { CublasMatrix, CublasProblem } from '../node/native.ts';
import { libraryAlignment } from '../provider.ts';
import { linearEpilogue } from './epilogue.ts';
import type { LinearEpilogue } from './epilogue.ts';

export interface CublasMatmul {
  readonly problem: CublasProblem;
  readonly alpha: number;
  readonly beta: number;
  /** Indices of A, B, C, D and the bias among the op's arguments; -1: no bias. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly bias: number;
  /** Bytes that the addresses of A, B, C, D in every batch are multiples of, when those of the arguments are of 16. */
  readonly alignments: readonly [number, number, number, number];
}

const types: Readonly<Partial<Record<DType, number>>> = cublasType;

/**
 * The problem of `op` on `args` (inputs, then the output), undefined where cuBLASLt has none: mixed dtypes, more batch
 * dimensions than merge into one, strides that are no leading dimension, an epilogue that is more than a bias along the
 * columns and one matrix added. Its relu and gelu are not used: their treatment of NaN, and the variant of gelu, are
 * not documented.
 */
export function cublasMatmul(op: MatmulOp, args: readonly ArgSpec[]): CublasMatmul | undefined {
  const out = args.at(-1)!;
  const epilogue = linearEpilogue(op.epilogue);
  if (types[out.dtype] === undefined || args.some((x) => x.dtype !== out.dtype)) return undefined;
  if (!epilogue || epilogue.activation || epilogue.terms.length !== args.length - 3) return undefined;
  if (out.layout.shape.includes(0) || args[0]!.layout.shape.at(-1) === 0) return undefined;
  for (const fold of [true, false]) {
    const space = spaceOf(args, fold);
    const found = space && inSpace(op, args, space, epilogue);
    if (found) return found;
  }
  return undefined;
}

/** Strides of an argument along the batch, the result's rows and its columns. */
interface Walk {
  readonly arg: number;
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
}
interface Space {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly walks: readonly Walk[];
}

/**
 * The result's dimensions as at most one of batches, rows and columns. `fold`: batches that merge with rows are rows.
 */
function spaceOf(args: readonly ArgSpec[], fold: boolean): Space | undefined {
  const shape = args.at(-1)!.layout.shape;
  const strides = args.map(({ layout }, arg) => stridesOf(layout, shape, arg));
  const outer = fold ? -1 : -2;
  const merged = collapse(
    shape.slice(0, outer),
    strides.map((s) => s.slice(0, outer)),
  );
  const batches = merged.shape.length - (fold ? 1 : 0);
  if (batches > 1) return undefined;
  return {
    batch: batches === 1 ? merged.shape[0]! : 1,
    m: fold ? merged.shape.at(-1)! : shape.at(-2)!,
    n: shape.at(-1)!,
    walks: strides.map((s, arg) => {
      const along = merged.strides[arg]!;
      return {
        arg,
        batch: batches === 1 ? along[0]! : 0,
        rows: fold ? along.at(-1)! : s.at(-2)!,
        columns: s.at(-1)!,
      };
    }),
  };
}

/** Strides along the result's dimensions: 0 where one element serves all; a has no columns of it, b no rows. */
function stridesOf(layout: Layout, shape: readonly number[], arg: number): number[] {
  const lead = shape.length - layout.shape.length;
  const foreign = [shape.length - 1, shape.length - 2][arg];
  return shape.map((_, d) =>
    d < lead || d === foreign || layout.shape[d - lead] === 1 ? 0 : layout.strides[d - lead]!,
  );
}

function inSpace(
  op: MatmulOp,
  args: readonly ArgSpec[],
  { batch, m, n, walks }: Space,
  epilogue: LinearEpilogue,
): CublasMatmul | undefined {
  const [x, w] = walks as [Walk, Walk];
  const y = walks.at(-1)!;
  // Rows that are batches of b, or batches that are written over each other.
  if (w.rows !== 0 || (batch > 1 && y.batch === 0)) return undefined;
  const { dtype } = args[0]!;
  const type = types[dtype]!;
  const stored = (g: Grid): CublasMatrix | undefined => columnMajor(g, type, batch);
  const operand = (g: Grid): Operand | undefined => {
    const [plain, turned] = [stored(g), stored(transposed(g))];
    return (plain ?? turned) && { matrix: (plain ?? turned)!, transposed: !plain };
  };

  const k = args[0]!.layout.shape.at(-1)!;
  const left: Grid = { rows: m, columns: k, rowStride: x.rows, columnStride: args[0]!.layout.strides.at(-1)!, batchStride: x.batch }; // prettier-ignore
  const right: Grid = { rows: k, columns: n, rowStride: args[1]!.layout.strides.at(-2)!, columnStride: w.columns, batchStride: w.batch }; // prettier-ignore
  const result = (at: Walk): Grid => ({ rows: m, columns: n, rowStride: at.rows, columnStride: at.columns, batchStride: at.batch }); // prettier-ignore
  // D is our result where that is column-major, else its transpose.
  const turn = stored(transposed(result(y))) !== undefined;
  const resultOf = (at: Walk): CublasMatrix | undefined => stored(turn ? transposed(result(at)) : result(at));
  const a = operand(turn ? transposed(right) : left);
  const b = operand(turn ? transposed(left) : right);
  const d = resultOf(y);
  if (!a || !b || !d) return undefined;

  let bias: Walk | undefined;
  let added: { readonly at: Walk; readonly factor: number; readonly matrix: CublasMatrix } | undefined;
  for (const { input, factor } of epilogue.terms) {
    const e = walks[input + 1]!;
    const [down, across] = turn ? [e.columns, e.rows] : [e.rows, e.columns];
    if (!bias && factor === 1 && across === 0 && (down === 1 || d.rows === 1)) {
      bias = e;
      continue;
    }
    const matrix = resultOf(e);
    if (!matrix || added || (batch > 1 && e.batch === 0)) return undefined;
    added = { at: e, factor, matrix };
  }
  const c = added?.matrix ?? d;
  const { bytes } = dtypes[dtype];
  return {
    problem: {
      compute: op.precision === 'tf32' && dtype === 'float32' ? cublasCompute.tf32 : cublasCompute.float32,
      scale: cublasType.float32,
      transposeA: a.transposed,
      transposeB: b.transposed,
      epilogue: bias ? cublasEpilogue.bias : cublasEpilogue.none,
      ...(bias && { biasType: type, biasBatchStride: bias.batch }),
      a: a.matrix,
      b: b.matrix,
      c,
      d,
    },
    alpha: epilogue.scale,
    beta: added?.factor ?? 0,
    a: turn ? 1 : 0,
    b: turn ? 0 : 1,
    c: added?.at.arg ?? y.arg,
    d: y.arg,
    bias: bias?.arg ?? -1,
    alignments: [
      alignmentOf(a.matrix, bytes),
      alignmentOf(b.matrix, bytes),
      alignmentOf(c, bytes),
      alignmentOf(d, bytes),
    ],
  };
}

/** A matrix, or a stack of them, with any strides. */
interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
  readonly batchStride: number;
}
interface Operand {
  readonly matrix: CublasMatrix;
  readonly transposed: boolean;
}

const transposed = (g: Grid): Grid => ({
  rows: g.columns,
  columns: g.rows,
  rowStride: g.columnStride,
  columnStride: g.rowStride,
  batchStride: g.batchStride,
});

/** The grid as a column-major matrix, undefined where it is none. The stride along one element means nothing. */
function columnMajor(g: Grid, type: number, batch: number): CublasMatrix | undefined {
  const leading = g.columns === 1 ? g.rows : g.columnStride;
  if ((g.rows !== 1 && g.rowStride !== 1) || leading < g.rows) return undefined;
  const { rows, columns, batchStride } = g;
  return { type, rows, columns, leading, ...(batch > 1 && { batch, batchStride }) };
}

function alignmentOf({ batch, batchStride }: CublasMatrix, bytes: number): number {
  let alignment = libraryAlignment;
  while (batch && (batchStride! * bytes) % alignment !== 0) alignment /= 2;
  return alignment;
}
