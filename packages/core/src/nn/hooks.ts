// Hooks around a module's forward: one mechanism for offload, casting, inspection, caching. Named, ordered, removable.

import type { CallState } from './call-state.ts';

/**
 * A hook encloses the module's forward and the hooks attached after it: its preForward, then its around, inside of which
 * the next hook runs in the same way and at last the forward; then its postForward. With hooks a and b a call runs
 * a.preForward, a.around { b.preForward, b.around { forward }, b.postForward }, a.postForward. When one throws, what would
 * come after it does not run.
 */
export interface Hook<Args extends readonly unknown[] = readonly unknown[], Out = unknown> {
  readonly name: string;
  /** True when it may run while a trace is recorded (it neither moves weights nor reads values). */
  readonly traceable?: boolean;
  /** After it was added to `module`. */
  attach?(module: object): void;
  /** After it was removed from `module`. */
  detach?(module: object): void;
  /**
   * Before a replay, which calls no module, reads the module's weights: brings them to the device. `together` are the
   * modules, this one among them, whose weights are needed at the same time.
   */
  bringWeights?(module: object, together: readonly object[]): void;
  /** After the module's weights went from the device to host memory: frees what was made of them there. */
  weightsLeft?(module: object): void;
  /** May return other arguments. */
  preForward?(module: object, args: Args): Args | void;
  /**
   * Runs in place of what it encloses, which `next` runs: once, with other arguments, several times, or not at all.
   * Tensors made here and not returned are freed; `keep` those that stay in `state`, the state of the call.
   */
  around?(module: object, args: Args, next: (...args: Args) => Out, state: CallState): Out;
  /** May return another result. */
  postForward?(module: object, output: Out): Out | void;
}
