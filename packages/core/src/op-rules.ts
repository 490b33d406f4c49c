// The descriptor of an op kind: all its facts but the public function and the kernels. Dispatch, the tuner, passes,
// files and tests read descriptors; they have no tables of kinds.

import type { Attribute } from './attributes.ts';
import type { AnyOp, Cost, Spec } from './op.ts';
import type { Layout } from './layout.ts';
import type { DType } from './dtype.ts';
import type { Tolerance } from './testing/tolerance.ts';

/** Number of inputs, run-time numbers and output coordinates that the leaves of an expression may read. */
export interface Leaves {
  readonly inputs: number;
  readonly scalars: number;
  readonly axes: number;
}

/** The argument of a product that does not change from call to call. */
export interface WeightRule {
  /** Index of the weight among the inputs. */
  readonly input: number;
  /** True if images follow the memory format of this weight. */
  readonly setsFormat?: true;
  /**
   * The weight's dimensions from the outermost in memory to the outputs, in the order that kernels read fastest when
   * the result lies as `result`; undefined where the weight is not copied.
   */
  adjacent?(result: Layout, shape: readonly number[]): readonly number[] | undefined;
}

/** Rules of one op kind. `R`: what infer gives, a Spec, or a list of them where the op has several outputs. */
export interface OpRules<O extends AnyOp, R extends Spec | readonly Spec[] = Spec> {
  readonly kind: O['kind'];
  /** Least and most inputs. */
  readonly inputs: readonly [least: number, most: number];
  /** Type and range of each attribute in a file. Absent: the op is refused in files. */
  readonly attributes?: { readonly [A in Exclude<keyof O, 'kind'>]-?: Attribute };
  /** The attributes that are expressions, with the bounds of their leaves. `rank`: dimensions of the output. */
  readonly expressions?: {
    readonly [A in Exclude<keyof O, 'kind'>]?: (op: O, inputs: number, rank: number) => Leaves;
  };
  /** Attributes that printed graphs leave out when they have these values. */
  readonly defaults?: Partial<O>;

  /** Shape, dtype and layout of the output: pure, and the only place that words the op's shape errors. */
  infer(op: O, inputs: readonly Spec[]): R;
  cost(op: O, inputs: readonly Spec[]): Cost;
  /** By how much a fast kernel may differ from the reference kernel, for inputs about 1. */
  tolerance(op: O, inputs: readonly Spec[], output: DType): Tolerance;

  /** Run-time numbers, in the order that a kernel receives them; they never specialise a kernel. Default: none. */
  scalars?(op: O): readonly number[];
  /**
   * A text equal for ops that may share a kernel, given equal input specs: all attributes but those that only carry
   * run-time numbers. Default: the op as JSON.
   */
  key?(op: O): string;
  /**
   * For ops whose call sites make a new object at every call: an object that the ops of one call site share, and a
   * number below 1024. Ops of the same stem and variant must have the same key. Undefined: dispatch computes the key.
   * Default: the op itself.
   */
  readonly site?: {
    stem(op: O): object | undefined;
    variant(op: O): number;
  };

  /** The number of operands that come before the extra inputs of an epilogue; absent: the op takes no epilogue. */
  readonly epilogueAfter?: number;
  /** The activation that the op applies to its result when its attribute `activation` says so. */
  readonly activation?: 'silu';
  readonly weight?: WeightRule;
  /** True if eager code may give the op a slice to write to and its elements come out the same wherever that lies. */
  readonly writesAnywhere?: true;
}

/** The rules of an op with any number of outputs. */
export type AnyRules<O extends AnyOp = AnyOp> = OpRules<O, Spec | readonly Spec[]>;

const none: readonly number[] = [];

/** The run-time numbers of `op`, in the order that its kernel receives them. */
export function scalarsOf<O extends AnyOp>(rules: AnyRules<O>, op: O): readonly number[] {
  return rules.scalars?.(op) ?? none;
}

/** The kernel key of `op`: ops of equal key and equal input specs share a kernel. */
export function keyOf<O extends AnyOp>(rules: AnyRules<O>, op: O): string {
  return rules.key ? rules.key(op) : JSON.stringify(op);
}

/** The specs of all outputs of `op`. @throws what infer throws for inputs that do not fit. */
export function outputsOf<O extends AnyOp>(
  rules: AnyRules<O>,
  op: O,
  inputs: readonly Spec[],
): readonly Spec[] {
  const specs = rules.infer(op, inputs);
  return isList(specs) ? specs : [specs];
}

function isList(specs: Spec | readonly Spec[]): specs is readonly Spec[] {
  return Array.isArray(specs);
}
