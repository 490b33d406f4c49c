// Hooks around a module's forward: one mechanism for offload, casting, inspection. Named, ordered, removable.

import type { AnyModule } from './module.ts';

export interface Hook<Args extends readonly unknown[] = readonly unknown[], Out = unknown> {
  readonly name: string;
  /** True when it may run while a trace is recorded (it neither moves weights nor reads values). */
  readonly traceable?: boolean;
  attach?(module: AnyModule | object): void;
  detach?(module: AnyModule | object): void;
  /** Before a replay, which calls no module, reads its weights: brings them to the device. */
  bringWeights?(module: object): void;
  /** After its weights went from the device to host memory: what was made of them there goes too. */
  weightsLeft?(module: object): void;
  /** May return other arguments. */
  preForward?(module: object, args: Args): Args | void;
  /** May return another result. */
  postForward?(module: object, output: Out): Out | void;
}
