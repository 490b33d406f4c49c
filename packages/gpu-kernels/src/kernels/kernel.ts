// A kernel as data, before a backend compiles it, and the KernelFactory that each file of kernels/ exports for its op
// kind.

import type { AnyOp, ArgSpec } from '@darkroom/core/backend';
import type { KernelDispatch, Traits } from '../text/dispatch.ts';

/** A kernel as data: dispatches that run one after the other, and the scratch memory between them. */
export interface KernelSpec {
  readonly dispatches: readonly KernelDispatch[];
  /** Bytes of each scratch buffer. */
  readonly scratch?: readonly number[];
}

/** Kernels for one kind of op. `T`: the traits of the backend's devices. */
export interface KernelFactory<O extends AnyOp, T extends Traits = Traits> {
  /** Ids of the kernels that run `op`, best guess first; empty: core decomposes. */
  choices(op: O, args: readonly ArgSpec[], traits: T): readonly string[];
  /**
   * The kernel of one choice. `wide`: every argument starts at a multiple of four elements, so quads may be used
   * where strides allow; the backend asks again with false when a run's slices do not.
   */
  prepare(op: O, args: readonly ArgSpec[], choice: string, traits: T, wide: boolean): KernelSpec;
}

/** Invocations of flat kernels: a few subgroups on every GPU. */
export const flatThreads = 64;

/** Workgroups for `count` invocations. */
export const groupsFor = (count: number, threads: number = flatThreads): number => Math.ceil(count / threads);
