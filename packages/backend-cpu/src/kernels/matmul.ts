// matmul on the SIMD product.

import { reshapeLayout } from '@darkroom/core/backend';
import type { ArgSpec, MatmulOp } from '@darkroom/core/backend';
import { prepareProduct } from '../simd/product.ts';
import type { ProductSpec } from '../simd/product.ts';
import { broadcast } from './kernel.ts';
import type { Factory } from './kernel.ts';
import { offsets, productChoices, tileOf, withEpilogue } from './shared/product.ts';

export const matmulFactory: Factory<MatmulOp> = {
  choices: (op, args) => productChoices(op.epilogue, args),
  prepare(engine, op, args, choice) {
    const product = prepareProduct(engine, matmulSpec(args[0]!, args[1]!, args.at(-1)!), tileOf(choice));
    return withEpilogue(engine, op.epilogue, args, product);
  },
};

function matmulSpec(a: ArgSpec, b: ArgSpec, c: ArgSpec): ProductSpec {
  const shape = c.layout.shape;
  const [m, n, k] = [shape.at(-2)!, shape.at(-1)!, a.layout.shape.at(-1)!];
  const common = {
    n,
    k,
    weight: 'b',
    b: { dtype: b.dtype, k: b.layout.strides.at(-2)!, column: b.layout.strides.at(-1)! },
  } as const;
  // One weight for a batch of rows is one larger product, when the rows lie evenly.
  const flatRows =
    b.layout.shape.length === 2
      ? reshapeLayout(
          { ...a.layout, offset: 0 },
          [-1, k].map((d, i) => (i === 0 ? a.layout.shape.slice(0, -1).reduce((x, y) => x * y, 1) : d)),
        )
      : undefined;
  const flatOut = reshapeLayout({ ...c.layout, offset: 0 }, [
    shape.slice(0, -1).reduce((x, y) => x * y, 1),
    n,
  ]);
  if (flatRows && flatOut) {
    return {
      ...common,
      m: flatRows.shape[0]!,
      a: { dtype: a.dtype, row: flatRows.strides[0]!, k: flatRows.strides[1]! },
      c: { row: flatOut.strides[0]!, column: flatOut.strides[1]! },
      batches: [[0, 0, 0]],
    };
  }
  const batch = shape.slice(0, -2);
  const walk = (x: ArgSpec): number[] => {
    const outer = {
      dtype: x.dtype,
      layout: { shape: x.layout.shape.slice(0, -2), strides: x.layout.strides.slice(0, -2), offset: 0 },
    };
    return offsets(batch, broadcast(outer, batch).strides);
  };
  const [ao, bo, co] = [walk(a), walk(b), walk(c)];
  return {
    ...common,
    m,
    a: { dtype: a.dtype, row: a.layout.strides.at(-2)!, k: a.layout.strides.at(-1)! },
    c: { row: c.layout.strides.at(-2)!, column: c.layout.strides.at(-1)! },
    batches: ao.map((x, i) => [x, bo[i]!, co[i]!] as const),
  };
}
