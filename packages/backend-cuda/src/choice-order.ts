// Which kernels come first where nothing is tuned: our own, or a library's.

import type { ArgSpec, Choice, KernelOp } from '@darkroom/core/backend';
import { conv2dSize } from '@darkroom/gpu-kernels';
import { tensorPickOf } from './kernels/tensor-cores/tiles.ts';

/** Rows and columns of the tiles that cuDNN takes for most convolutions; its fused engines do not split the sum. */
const libraryTile = 128;
/** Processors for each tile of a library from which on our own shared sums are faster. */
const fewTiles = 8;

/**
 * True for products in full float32. Our own kernels come first for these, since they were compared with the CPU's;
 * libraries are faster on tensor cores, and the tuner may choose them everywhere.
 */
const isExact = (op: KernelOp, args: readonly ArgSpec[]): boolean =>
  args[0]?.dtype === 'float32' && !('precision' in op && op.precision === 'tf32');

/**
 * True for a convolution whose result has far fewer library tiles than the GPU has `processors`, and whose best kernel of
 * our own shares each tile's sum among several: at 8x8 pixels a library's 10 workgroups leave 122 of 132 idle. At 16x16,
 * with 40, cuDNN is twice as fast as ours all the same (H200, 2026-11-27).
 */
function isSmallConvolution(
  op: KernelOp,
  args: readonly ArgSpec[],
  own: readonly Choice[],
  processors: number,
): boolean {
  if (op.kind !== 'conv2d' || (tensorPickOf(own[0]!.id)?.splits ?? 1) === 1) return false;
  const { m, n, stacks } = conv2dSize(op, args);
  return Math.ceil(m / libraryTile) * Math.ceil(n / libraryTile) * stacks < processors / fewTiles;
}

/** The choices of an op, best guess first: `own`, of which there is one at least, and those of `libraries`. */
export function inOrder(
  op: KernelOp,
  args: readonly ArgSpec[],
  own: readonly Choice[],
  libraries: readonly Choice[],
  processors: number,
): readonly Choice[] {
  const ownFirst = isExact(op, args) || isSmallConvolution(op, args, own, processors);
  return ownFirst ? [...own, ...libraries] : [...libraries, ...own];
}
