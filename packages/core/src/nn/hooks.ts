// Hooks around a module's forward: one mechanism for offload, casting, inspection, caching. Named, ordered, removable.

import type { CallState } from './call-state.ts';

/**
 * A hook encloses the module's forward and the hooks attached after it: preForward runs first, then around, which
 * encloses the next hook and at last the forward, then postForward. With hooks a and b a call runs a.preForward,
 * a.around { b.preForward, b.around { forward }, b.postForward }, a.postForward. When one throws, the later ones do not
 * run.
 */
export interface Hook<Args extends readonly unknown[] = readonly unknown[], Out = unknown> {
  readonly name: string;
  /** True for a hook that may run inside a trace: it neither moves weights nor reads values. */
  readonly traceable?: boolean;
  /** Runs after the hook was added to `module`. */
  attach?(module: object): void;
  /** Runs after the hook was removed from `module`. */
  detach?(module: object): void;
  /**
   * Brings the module's weights to the device before a replay reads them, since a replay calls no module. `together`:
   * the modules, this one among them, whose weights are needed at the same time.
   */
  bringWeights?(module: object, together: readonly object[]): void;
  /**
   * Runs after the module's weights went from the device to host memory: frees data derived from them on the device.
   */
  weightsLeft?(module: object): void;
  /** May return other arguments. */
  preForward?(module: object, args: Args): Args | void;
  /**
   * Replaces the enclosed hooks and forward; `next` runs them: once, with other arguments, several times, or not at
   * all. Tensors made here and not returned are freed; `keep` those that stay in `state`, the state of the call.
   */
  around?(module: object, args: Args, next: (...args: Args) => Out, state: CallState): Out;
  /** May return another result. */
  postForward?(module: object, output: Out): Out | void;
}
