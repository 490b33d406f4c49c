// Products on tensor cores before the shared kernels of their op: the direct product where operands lie in pieces along
// the sum, else the strided one.

import { elementCount } from '@darkroom/core/backend';
import type { ArgSpec, Conv2dOp, MatmulOp } from '@darkroom/core/backend';
import type { KernelFactory, KernelSpec, ProductBody, ProductSize, Tile } from '@darkroom/gpu-kernels';
import type { CudaTraits } from '../../traits.ts';
import { stridedProductBody } from './strided-product.ts';
import { tensorChoices, tensorElement, tensorPickOf } from './tiles.ts';
import type { TensorElement, TensorPick } from './tiles.ts';

type ProductOp = MatmulOp | Conv2dOp;

/** What a product's op brings to its tensor-core kernels. */
export interface TensorProduct<O extends ProductOp> {
  size(op: O, args: readonly ArgSpec[]): ProductSize;
  /** True if both operands lie in pieces along the sum. */
  isDirect(args: readonly ArgSpec[], element: TensorElement): boolean;
  direct(
    op: O,
    args: readonly ArgSpec[],
    pick: TensorPick,
    traits: CudaTraits,
    element: TensorElement,
  ): KernelSpec;
  /** The shared kernel of tiles, with another body. */
  tiled(
    op: O,
    args: readonly ArgSpec[],
    tile: Tile,
    traits: CudaTraits,
    wide: boolean,
    body: ProductBody,
  ): KernelSpec;
}

/** `shared`, and before its kernels those on tensor cores. */
export function onTensorCores<O extends ProductOp>(
  shared: KernelFactory<O>,
  product: TensorProduct<O>,
): KernelFactory<O, CudaTraits> {
  const elementOf = (op: O, args: readonly ArgSpec[], traits: CudaTraits): TensorElement | undefined =>
    tensorElement(traits, args[0]!.dtype, args[1]!.dtype, op.precision);
  return {
    choices(op, args, traits) {
      const plain = shared.choices(op, args, traits);
      const element = elementOf(op, args, traits);
      if (plain.length === 0 || !element) return plain;
      const direct = product.isDirect(args, element);
      // tf32 has no strided product.
      if (!direct && element === 'tf32') return plain;
      return [...tensorChoices(product.size(op, args), traits, direct), ...plain];
    },
    prepare(op, args, choice, traits, wide) {
      const pick = tensorPickOf(choice);
      const element = elementOf(op, args, traits);
      if (!pick || !element) return shared.prepare(op, args, choice, traits, wide);
      if (elementCount(args.at(-1)!.layout.shape) === 0) return { dispatches: [] };
      if (wide && product.isDirect(args, element)) return product.direct(op, args, pick, traits, element);
      // Slices that are not aligned as the choice needs: the same sums by another kernel.
      if (element === 'tf32')
        return shared.prepare(op, args, shared.choices(op, args, traits)[0]!, traits, wide);
      return product.tiled(op, args, pick.tile, traits, wide, (s, p) => stridedProductBody(s, p, element));
    },
  };
}
