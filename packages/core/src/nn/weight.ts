// The forms of a layer's weight: one dense tensor, or blocks of an encoding that give it when the layer runs.

import { Tensor } from '../tensor.ts';
import { Module } from './module.ts';

/**
 * A weight stored in an encoding (quantised blocks and their scales). Its tensors are parameters of its own, under
 * `weight.…` in the stateDict, so traces, offload, to() and dispose() treat them as those of any module.
 */
export abstract class EncodedWeight extends Module<[], Tensor> {
  /** Shape of the dense weight. */
  readonly shape: readonly number[];

  constructor(shape: readonly number[]) {
    super();
    this.shape = shape;
  }

  /** The dense weight, decoded by ops. */
  abstract override forward(): Tensor;
}

/** A layer's weight in one of its forms. */
export type Weight = Tensor | EncodedWeight;

/** The weight as a dense tensor. A decoded one belongs to the scope of the caller: it lasts for one use. */
export function denseWeight(weight: Weight): Tensor {
  return weight instanceof Tensor ? weight : weight.call();
}
