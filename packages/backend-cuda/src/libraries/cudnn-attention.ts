// Attention as cuDNN's single operation softmax(q·kᵀ·scale)·v, which never stores the scores.

import type { Layout } from '@darkroom/core';
import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { CudnnGraphBuilder } from './cudnn-graph.ts';
import type { CudnnGraph, Ref } from './cudnn-graph.ts';

/**
 * The graph of `op` on q, k, v and the output; undefined with a mask (causal masks are a graph inside the operation
 * that is not documented), for float32, and where the heads' elements are not adjacent and in whole vectors of 8.
 */
export function attentionGraph(op: AttentionOp, args: readonly ArgSpec[]): CudnnGraph | undefined {
  const [q] = args as [ArgSpec];
  if (op.mask !== 'none' || args.some((a) => a.dtype !== q.dtype)) return undefined;
  if (q.dtype !== 'float16' && q.dtype !== 'bfloat16') return undefined;
  if (!args.every(inVectors)) return undefined;
  const graph = new CudnnGraphBuilder();
  const tensor = (arg: number): Ref => {
    const { layout } = args[arg]!;
    // A stride along one element may be anything; cuDNN gets one that leads past the others.
    const strides = layout.strides.map((s, i) => (layout.shape[i] === 1 && i < 3 ? elementsPast(layout) : s));
    return graph.argument(arg, q.dtype, { dimensions: layout.shape, strides });
  };
  graph.operation(
    'operationSdpaFwd',
    ['operationSdpaFwdQdesc', 'backendDescriptor', tensor(0)],
    ['operationSdpaFwdKdesc', 'backendDescriptor', tensor(1)],
    ['operationSdpaFwdVdesc', 'backendDescriptor', tensor(2)],
    ['operationSdpaFwdOdesc', 'backendDescriptor', tensor(3)],
    ['operationSdpaFwdScaledesc', 'backendDescriptor', graph.value(op.scale)],
  );
  return graph.build(false);
}

const elementsPast = ({ shape, strides }: Layout): number =>
  Math.max(...shape.map((d, i) => (d === 1 ? 0 : d * strides[i]!)));

/** Rows of 16-byte vectors; cuDNN documents heads in multiples of 8. */
function inVectors({ layout: { shape, strides } }: ArgSpec): boolean {
  const whole = (n: number): boolean => n % 8 === 0;
  if (shape.includes(0) || !whole(shape[3]!) || strides[3] !== 1) return false;
  return shape.slice(0, 3).every((d, i) => d === 1 || (strides[i]! > 0 && whole(strides[i]!)));
}
