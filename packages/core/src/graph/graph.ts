// Graph: a recorded function in SSA form and topological order, as plain JSON. Params are named by state-dict key;
// constants are other tensors that the function read.

import type { DType } from '../dtype.ts';
import type { Op } from '../ops/table.ts';

/** The number of a value in its graph. */
export type ValueId = number;

/** Dtype, shape and strides (in elements) of a value. */
export interface ValueInfo {
  readonly id: ValueId;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** A value that comes from outside, by its name. */
export interface NamedValue extends ValueInfo {
  readonly name: string;
}

/** An op and its output; further outputs are nodes of kind 'result', which read this one. */
export interface GraphNode extends ValueInfo {
  readonly op: Op;
  readonly inputs: readonly ValueId[];
  /** Dotted path of the module that called the op; '' at top level. */
  readonly module: string;
}

/** A recorded function: nodes in an order in which they can run. */
export interface Graph {
  readonly schema: number;
  readonly inputs: readonly NamedValue[];
  readonly params: readonly NamedValue[];
  readonly constants: readonly NamedValue[];
  readonly nodes: readonly GraphNode[];
  readonly outputs: readonly { readonly name: string; readonly id: ValueId }[];
}
