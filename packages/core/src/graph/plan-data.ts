// What a plan is: a graph for one device as data. Views are gone, every launch has its kernel's choice, every value its
// place. plan.ts makes it, replay.ts runs it.

import type { Choice } from '../backend.ts';
import type { DType } from '../dtype.ts';
import type { Layout } from '../layout.ts';
import type { AnyOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/** Part of a base: the layout's offset counts elements from the start of the base. */
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
  /** How many of the arguments are outputs; absent: one. */
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
 * A piece of memory: bound from outside by name, a slot of its own for what comes out, or a place in the plan's memory.
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
  /** All launches, in order; the last segment runs at every call, others when an input they read changed. */
  readonly segments: readonly PlanSegment[];
  readonly inputs: readonly PlanPort[];
  readonly outputs: readonly PlanPort[];
  /** Bytes its values would take without sharing. */
  readonly unsharedBytes: number;
}

/** Tensors by name. */
export type Named = ReadonlyMap<string, Tensor>;
