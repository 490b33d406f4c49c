// matmul on tensor cores beside the shared kernels: on the direct product where rows of A and columns of B lie along k,
// as in every linear layer, else on the strided one.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec, MatmulOp } from '@darkroom/core/backend';
import { broadcastStrides, collapse, matmul as shared, matmulSize, tiledMatmul } from '@darkroom/gpu-kernels';
import type { KernelFactory, KernelSpec, Shader } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../traits.ts';
import { directProduct, inPieces } from './tensor-cores/direct-product.ts';
import type { DirectOperand } from './tensor-cores/direct-product.ts';
import { onTensorCores } from './tensor-cores/factory.ts';
import type { TensorElement, TensorPick } from './tensor-cores/tiles.ts';

/** Batch dimensions, rows and strides of the problem; batches become rows where every tensor's strides let them. */
function problemOf(args: readonly ArgSpec[]): {
  readonly batch: readonly number[];
  readonly m: number;
  /** Per argument (a, b, extras, output): over the batch dimensions, along m, along n (of a: along k is 1). */
  readonly strides: readonly { readonly batch: readonly number[]; readonly m: number; readonly n: number }[];
} {
  const { shape } = args.at(-1)!.layout;
  const [lead, m] = [shape.slice(0, -2), shape.at(-2)!];
  const strides = args.map(({ layout }, i) => {
    // a is seen as broadcast along n, b along m.
    const own = layout.shape.slice();
    if (i < 2) own[own.length - (i === 0 ? 1 : 2)] = 1;
    const all = broadcastStrides({ ...layout, shape: own }, shape);
    return { batch: all.slice(0, -2), m: all.at(-2)!, n: all.at(-1)! };
  });
  const rows = collapse([...lead, m], strides.map((x) => [...x.batch, x.m])); // prettier-ignore
  if (rows.shape.length === 1 && m > 1) {
    const one = rows.shape[0]!;
    return { batch: [], m: one, strides: strides.map((x, i) => ({ batch: [], m: rows.strides[i]![0]!, n: x.n })) }; // prettier-ignore
  }
  return { batch: lead, m, strides };
}

/** True if both operands lie in pieces along k. */
function isDirect(args: readonly ArgSpec[], element: TensorElement): boolean {
  const [a, b] = [args[0]!, args[1]!];
  const k = a.layout.shape.at(-1)!;
  const { strides } = problemOf(args);
  const [x, y] = [strides[0]!, strides[1]!];
  return (
    k >= (element === 'tf32' ? 4 : 8) &&
    a.layout.strides.at(-1) === 1 &&
    b.layout.strides.at(-2) === 1 &&
    inPieces(a, k, x.m, ...x.batch) &&
    inPieces(b, k, y.n, ...y.batch)
  );
}

function directMatmul(
  op: MatmulOp,
  args: readonly ArgSpec[],
  pick: TensorPick,
  traits: CudaTraits,
  element: TensorElement,
): KernelSpec {
  const { batch, m, strides } = problemOf(args);
  const n = args.at(-1)!.layout.shape.at(-1)!;
  const k = args[0]!.layout.shape.at(-1)!;
  const rank = batch.length;
  const per = element === 'tf32' ? 4 : 8;
  const decode = (s: Shader): string => (rank === 0 ? '' : s.decode('o', 'stack', batch));
  return directProduct(args, traits, {
    label: `matmul/${pick.tile.id}`,
    element,
    pick,
    m,
    n,
    stacks: elementCount(batch),
    k,
    taps: 1,
    operands: (s) => {
      const operand = (which: 'a' | 'b'): DirectOperand => {
        const x = strides[which === 'a' ? 0 : 1]!;
        const base = s.dot(`base_${which}`, 'o', x.batch.map((v) => v / per)); // prettier-ignore
        const last = which === 'a' ? s.u32('m', m) : s.u32('n', n);
        const step = s.u32(`row_${which}`, (which === 'a' ? x.m : x.n) / per);
        return {
          // Rows past the edge read the last one; what they compute is not stored.
          setup: (slot, index) => `u32 ${slot} = ${base} + min(${index}, ${last} - 1u) * ${step};`,
          piece: (slot, at) => `${slot} + ${at} / ${per}u`,
        };
      };
      return { stack: decode(s), start: () => '', next: '', a: operand('a'), b: operand('b') };
    },
    result: (s) => ({
      stack: decode(s),
      place: {
        expr: op.epilogue,
        axis: rank + 1,
        run: n,
        strides: strides.slice(2).map((x) => [...x.batch, x.m, x.n]),
        wide: true,
        coordinate: (col) => col,
        rest: (col) => `${s.u32('n', n)} - ${col}`,
        others: (row) => `let o${rank} = ${row};`,
      },
    }),
  });
}

/** The shared kernels of matmul, and before them those on tensor cores. */
export const matmul: KernelFactory<MatmulOp, CudaTraits> = onTensorCores<MatmulOp>(shared, {
  size: (_, args) => matmulSize(args),
  isDirect,
  direct: directMatmul,
  tiled: tiledMatmul,
});
