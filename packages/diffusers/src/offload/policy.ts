// What a pipeline knows of an offload policy, and what both policies share.

import { ArgumentError, Module, TracedModule } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';

/** Components by name; only those that are modules are offloaded, a user's own objects look after themselves. */
export type Components = object;

export interface OffloadPolicy {
  /** The call that ends it, for messages. */
  readonly undo: string;
  /** Whether weights come layer by layer: then nothing of the pipeline may be traced. */
  readonly byLayers: boolean;
  /** At the start of a call: takes in components that were exchanged since the last one. */
  begin(components: Components): Promise<void>;
  /** At the end of a call, failed or not: nothing stays on the device. */
  finish(): void;
  /** Detaches from every module; weights stay in host memory. */
  remove(): void;
}

export function modulesOf(components: Components): Map<string, AnyModule> {
  const modules = Object.entries(components).filter(([, c]) => c instanceof Module) as [string, AnyModule][];
  return new Map(modules);
}

/** @throws ArgumentError naming the components whose weights are on the device: offload would then save nothing. */
export function requireHost(call: string, components: Components): void {
  const placed = [...modulesOf(components)].filter(([, m]) => m.isOnHost === false);
  if (placed.length === 0) return;
  throw new ArgumentError(
    `${call}: the weights of ${placed.map(([name]) => name).join(', ')} are on ${placed[0]![1].device!.name} already, ` +
      "offload starts from host memory: load with { weights: 'host' }, or call await pipe.toHost() first",
  );
}

/** @throws ArgumentError when a component is traced, or a part of one: for offload by layers. */
export function refuseTraced(call: string, components: Components): void {
  for (const [name, module] of modulesOf(components)) {
    for (const [, part] of module.namedModules())
      if (part instanceof TracedModule)
        throw replayNeedsAll(call, `put the module itself in place of the traced ${name}`);
  }
}

/** Why traces and offload by layers exclude each other; `remedy` says what to do. */
export const replayNeedsAll = (call: string, remedy: string): ArgumentError =>
  new ArgumentError(
    `${call}: a trace replays with all weights on the device, and sequential offload brings them layer by layer; ` +
      `${remedy}, or use enableModelCpuOffload() for both`,
  );

/** Keeps hooks on the modules that a pipeline has now; `attach` and `detach` are called for what changed. */
export class Attachments {
  readonly #attached = new Map<string, AnyModule>();
  readonly #attach: (name: string, module: AnyModule) => void;
  readonly #detach: (name: string, module: AnyModule) => void;

  constructor(
    attach: (name: string, module: AnyModule) => void,
    detach: (name: string, module: AnyModule) => void,
  ) {
    this.#attach = attach;
    this.#detach = detach;
  }

  /** Weights that a new component has on the device go to host memory. */
  async update(components: Components): Promise<void> {
    const now = modulesOf(components);
    for (const [name, module] of this.#attached) {
      if (now.get(name) === module) continue;
      this.#attached.delete(name);
      this.#detach(name, module);
    }
    for (const [name, module] of now) {
      if (this.#attached.get(name) === module) continue;
      await module.toHost();
      this.#attached.set(name, module);
      this.#attach(name, module);
    }
  }

  /** As update, for components that are in host memory. */
  attach(components: Components): void {
    for (const [name, module] of modulesOf(components)) {
      this.#attached.set(name, module);
      this.#attach(name, module);
    }
  }

  remove(): void {
    for (const [name, module] of this.#attached) this.#detach(name, module);
    this.#attached.clear();
  }
}
