// Where kernels come from: our own texts, or a library. Each gives choices for an op and prepares one of them; the
// backend orders the choices, keeps the scratch memory and runs what was prepared.

import type { ArgSpec, Choice, KernelOp } from '@darkroom/core/backend';
import type { Stream } from './node/native.ts';

/** A kernel for arguments of known layouts. Addresses are those of the op's arguments, then of the scratch buffers. */
export interface Prepared {
  /** Bytes of each scratch buffer; kernels of the one compute stream share them in turn. */
  readonly scratch: readonly number[];
  /** Whether arguments at these addresses are aligned as it wants them. */
  fits(addresses: readonly number[]): boolean;
  /** Enqueues; gives how many launches that took. */
  run(addresses: readonly number[], scalars: readonly number[], stream: Stream): number;
}

export interface Library {
  /** Ids of its choices are this name, or begin with it and a dash. */
  readonly name: string;
  /** Ways to run `op`, best guess first; empty where the library has none. Never throws for an op it does not take. */
  choices(op: KernelOp, args: readonly ArgSpec[]): readonly Choice[];
  /** One of its choices, from now or kept from before; undefined where the library no longer takes it. */
  prepare(op: KernelOp, args: readonly ArgSpec[], choice: Choice): Prepared | undefined;
  /** Frees what choices and prepared kernels hold. */
  [Symbol.dispose](): void;
}

/** What libraries are prepared for: vector loads of 16 bytes. */
export const libraryAlignment = 16;

/** True when every address of `addresses` is a multiple of 16 bytes. */
export function areAligned(addresses: readonly number[]): boolean {
  for (const address of addresses) if (address % libraryAlignment !== 0) return false;
  return true;
}
