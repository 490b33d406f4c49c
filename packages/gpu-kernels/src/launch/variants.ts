// The two variants of a prepared kernel on both GPU backends, by the alignment of its arguments.

import type { Dispatch } from '../text/dispatch.ts';

/**
 * A kernel for arguments that start at whole quads, and, built when first needed, one for arguments that start
 * anywhere.
 */
export class KernelVariants<P> {
  readonly wide: P;
  readonly #build: (wide: boolean) => P;
  #plain: P | undefined;

  constructor(build: (wide: boolean) => P) {
    this.wide = build(true);
    this.#build = build;
  }

  get plain(): P {
    return (this.#plain ??= this.#build(false));
  }
}

/**
 * True if each of the `count` arguments starts at a whole unit of every array that a dispatch sees it as. `startOf`:
 * the byte at which an argument starts. Scratch buffers, whose numbers follow, start where their allocator puts them:
 * at any unit.
 */
export function startsAtUnits(
  { offsets }: Dispatch,
  count: number,
  startOf: (arg: number) => number,
): boolean {
  for (const { arg, unitBytes } of offsets) if (arg < count && startOf(arg) % unitBytes !== 0) return false;
  return true;
}
