// A cuDNN operation graph as data: descriptors with their attributes, in the order in which they are finalized.
// cudnn-conv2d.ts and cudnn-attention.ts make such graphs; cudnn-engines.ts makes cuDNN's descriptors from them.

import type { DType } from '@darkroom/core';
import { cudnnDataType } from '../node/cudnn.ts';
import type { CudnnAttribute, CudnnKind, CudnnType } from '../node/cudnn.ts';
import { libraryAlignment } from '../provider.ts';

/** Another descriptor of the graph, made before. */
export interface Ref {
  readonly node: number;
}
export type Setting = readonly [attribute: CudnnAttribute, type: CudnnType, ...values: (number | Ref)[]];
export interface GraphNode {
  readonly kind: CudnnKind;
  readonly settings: readonly Setting[];
}
/** The value of a tensor's unique id: an argument of the op, or a float given with every run. */
export type Binding =
  { readonly id: number; readonly arg: number } | { readonly id: number; readonly value: number };

export interface CudnnGraph {
  readonly nodes: readonly GraphNode[];
  readonly operations: readonly Ref[];
  readonly bindings: readonly Binding[];
  /** False where float32 may be rounded for tensor cores. */
  readonly exact: boolean;
}

export interface TensorShape {
  readonly dimensions: readonly number[];
  readonly strides: readonly number[];
}

const types: Readonly<Partial<Record<DType, number>>> = cudnnDataType;
/** cuDNN's number of a dtype, undefined for those that products have no use for. */
export const dataType = (dtype: DType): number | undefined => types[dtype];

export class CudnnGraphBuilder {
  readonly #nodes: GraphNode[] = [];
  readonly #operations: Ref[] = [];
  readonly #bindings: Binding[] = [];
  #id = 0;

  add(kind: CudnnKind, ...settings: readonly Setting[]): Ref {
    this.#nodes.push({ kind, settings });
    return { node: this.#nodes.length - 1 };
  }
  operation(kind: CudnnKind, ...settings: readonly Setting[]): void {
    this.#operations.push(this.add(kind, ...settings));
  }

  /** The tensor of the op's argument `arg`. */
  argument(arg: number, dtype: DType, shape: TensorShape): Ref {
    return this.#tensor((id) => this.#bindings.push({ id, arg }), types[dtype]!, shape);
  }
  /** A float32 between two operations, never in memory. */
  between(shape: TensorShape): Ref {
    return this.#tensor(() => {}, cudnnDataType.float32, shape, ['tensorIsVirtual', 'boolean', 1]);
  }
  /** One float32, read from host memory. */
  value(value: number): Ref {
    const shape = { dimensions: [1, 1, 1, 1], strides: [1, 1, 1, 1] };
    const bind = (id: number): unknown => this.#bindings.push({ id, value });
    return this.#tensor(bind, cudnnDataType.float32, shape, ['tensorIsByValue', 'boolean', 1]);
  }
  #tensor(bind: (id: number) => unknown, type: number, at: TensorShape, ...more: readonly Setting[]): Ref {
    const id = ++this.#id;
    bind(id);
    return this.add(
      'tensor',
      ['tensorDataType', 'dataType', type],
      ['tensorDimensions', 'int64', ...at.dimensions],
      ['tensorStrides', 'int64', ...at.strides],
      ['tensorUniqueId', 'int64', id],
      ['tensorByteAlignment', 'int64', libraryAlignment],
      ...more,
    );
  }

  build(exact: boolean): CudnnGraph {
    return { nodes: this.#nodes, operations: this.#operations, bindings: this.#bindings, exact };
  }
}
