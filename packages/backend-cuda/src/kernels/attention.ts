// attention on tensor cores beside the shared kernels: 'direct' where q, k and v lie in aligned pieces of 16 bytes, 'mma'
// for any other layout.

import { elementCount, span } from '@darkroom/core/backend';
import type { ArgSpec, AttentionOp } from '@darkroom/core/backend';
import { attention as shared } from '@darkroom/gpu-kernels';
import type { KernelFactory } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../traits.ts';
import { directAttention, isDirectAttention } from './tensor-cores/direct-attention.ts';
import { stridedAttention, widestStridedHead } from './tensor-cores/strided-attention.ts';

/** The format of q, k and v where tensor cores take it. */
function elementOf(args: readonly ArgSpec[], traits: CudaTraits): 'f16' | 'bf16' | undefined {
  const dtype = args[0]!.dtype;
  if (!traits.tensorCores.has(dtype) || args.slice(1, 3).some((x) => x.dtype !== dtype)) return undefined;
  return dtype === 'float16' ? 'f16' : dtype === 'bfloat16' ? 'bf16' : undefined;
}

/** The shared kernels of attention, and before them those on tensor cores. */
export const attention: KernelFactory<AttentionOp, CudaTraits> = {
  choices(op, args, traits) {
    const plain = shared.choices(op, args, traits);
    const element = elementOf(args, traits);
    if (plain.length === 0 || !element) return plain;
    const d = args[0]!.layout.shape[3]!;
    return [
      ...(isDirectAttention(args, traits) ? ['direct'] : []),
      ...(d <= widestStridedHead ? ['mma'] : []),
      ...plain,
    ];
  },
  prepare(op, args, choice, traits, wide) {
    if (choice !== 'direct' && choice !== 'mma') return shared.prepare(op, args, choice, traits, wide);
    if (elementCount(args.at(-1)!.layout.shape) === 0 || span(args[0]!.layout) === 0)
      return { dispatches: [] };
    const element = elementOf(args, traits)!;
    if (choice === 'direct' && wide) return directAttention(op, args, traits, element);
    // Slices that are not aligned as 'direct' needs: another kernel, on tensor cores if it takes the head.
    if (args[0]!.layout.shape[3]! > widestStridedHead)
      return shared.prepare(op, args, 'blocks', traits, wide);
    return stridedAttention(op, args, traits, wide, element);
  },
};
