// Plan: a graph for one device as data, with a kernel choice for every launch, a place in memory for every value, and
// no views. plan.ts makes it, replay.ts runs it.

import type { Choice } from '../backend.ts';
import type { DType } from '../dtype.ts';
import type { Layout } from '../layout.ts';
import type { AnyOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/** An argument of a launch: elements of a base. The layout's offset counts elements from the start of the base. */
export interface PlanArg {
  readonly base: number;
  readonly dtype: DType;
  readonly layout: Layout;
}

/** One kernel call of a plan. */
export interface PlanLaunch {
  readonly op: AnyOp;
  readonly choice: Choice;
  /** Inputs, then outputs. */
  readonly args: readonly PlanArg[];
  /** Number of outputs among the arguments; absent: one. */
  readonly outputs?: number;
}

/** The arguments that a launch reads. */
export function inputsOf<Arg>(launch: {
  readonly args: readonly Arg[];
  readonly outputs?: number;
}): readonly Arg[] {
  return launch.args.slice(0, launch.args.length - (launch.outputs ?? 1));
}
/** The arguments that a launch writes. */
export function outputsOf<Arg>(launch: {
  readonly args: readonly Arg[];
  readonly outputs?: number;
}): readonly Arg[] {
  return launch.args.slice(launch.args.length - (launch.outputs ?? 1));
}

/**
 * A piece of memory: a tensor that is bound by name, a slot for an output, or a place in the plan's own memory.
 */
export type PlanBase =
  | { readonly kind: 'input' | 'param' | 'constant'; readonly name: string; readonly bytes: number }
  | { readonly kind: 'output'; readonly bytes: number }
  | { readonly kind: 'arena'; readonly bytes: number; readonly buffer: number; readonly offset: number };

/** An input or output of a plan by its name. */
export interface PlanPort extends PlanArg {
  readonly name: string;
}

/** Launches from … to - 1 of a plan, which depend on these inputs and on weights. */
export interface PlanSegment {
  readonly reads: readonly string[];
  readonly from: number;
  readonly to: number;
}

/** A graph for one device, as data. */
export interface Plan {
  readonly bases: readonly PlanBase[];
  /** Bytes of the plan's own buffers: one arena, or several where a backend cannot divide buffers. */
  readonly buffers: readonly number[];
  readonly launches: readonly PlanLaunch[];
  /** All launches, in order. The last segment runs at every call, another one when an input that it reads changed. */
  readonly segments: readonly PlanSegment[];
  readonly inputs: readonly PlanPort[];
  readonly outputs: readonly PlanPort[];
  /** Bytes of all values without shared memory. */
  readonly unsharedBytes: number;
}

/** Tensors by name. */
export type Named = ReadonlyMap<string, Tensor>;
