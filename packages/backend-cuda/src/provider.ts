// Providers of kernels: our own texts, or a library. Each gives choices for an op and prepares one of them; the backend
// orders the choices, holds the scratch memory and runs the prepared kernels.

import type { ArgSpec, Choice, KernelOp } from '@darkroom/core/backend';
import type { Stream } from './node/native.ts';

/** A kernel for arguments of known layouts. Addresses are those of the op's arguments, then of the scratch buffers. */
export interface Prepared {
  /** Bytes of each scratch buffer; kernels of the one compute stream share them in turn. */
  readonly scratch: readonly number[];
  /** True if arguments at these addresses are aligned as the kernel needs. */
  fits(addresses: readonly number[]): boolean;
  /** Enqueues the kernel; returns the number of launches. */
  run(addresses: readonly number[], scalars: readonly number[], stream: Stream): number;
}

export interface Library {
  /** The library's name. Ids of its choices are this name, or begin with it and a dash. */
  readonly name: string;
  /** The library's kernels for `op`, best guess first; empty where it has none. Never throws. */
  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[];
  /** The kernel of a choice, also of a stored one; undefined where the library no longer accepts it. */
  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Prepared | undefined;
  /** Frees what choices and prepared kernels hold. */
  [Symbol.dispose](): void;
}

/** Bytes: libraries are prepared for vector loads, so arguments must be aligned to this. */
export const libraryAlignment = 16;

/** True when every address of `addresses` is a multiple of 16 bytes. */
export function areAligned(addresses: readonly number[]): boolean {
  for (const address of addresses) if (address % libraryAlignment !== 0) return false;
  return true;
}
