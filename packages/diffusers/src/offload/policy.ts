// What a pipeline knows of an offload policy, and what both policies share.

import { ArgumentError, Module, TracedModule } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';

/** Components by name; only those that are modules are offloaded, a user's own objects look after themselves. */
export type Components = object;

/** Offload of some components' weights. Pipelines that share the modules share the policy that the modules carry. */
export interface OffloadPolicy {
  /** The call that ends it, for messages. */
  readonly undo: string;
  /** Whether weights come layer by layer: then nothing of the pipeline may be traced. */
  readonly byLayers: boolean;
  /** Settings that a pipeline must agree with to join. */
  readonly settings: string;
  /** Takes in the components of one more pipeline. @throws ArgumentError when weights of others are on the device. */
  join(owner: object, components: Components): void;
  /** At the start of a call: takes in components that a pipeline which joined has exchanged since its last one. */
  begin(owner: object, components: Components): Promise<void>;
  /** At the end of a call, failed or not: after the last one under way nothing stays on the device. */
  finish(): void;
  /** Lets go of what only this owner brought; weights stay in host memory. Default: the policy's own components. */
  leave(owner?: object): void;
}

export function modulesOf(components: Components): Map<string, AnyModule> {
  const modules = Object.entries(components).filter(([, c]) => c instanceof Module) as [string, AnyModule][];
  return new Map(modules);
}

const carried = new WeakMap<AnyModule, OffloadPolicy>();

/** The policies that components carry, whichever pipeline enabled them. */
export function policiesOf(components: Components): ReadonlySet<OffloadPolicy> {
  const policies = [...modulesOf(components).values()].map((m) => carried.get(m));
  return new Set(policies.filter((policy) => policy !== undefined));
}

/**
 * @throws ArgumentError naming the components whose weights are on the device: offload would then save nothing. Those
 * under offload already may be there for a call under way.
 */
export function requireHost(call: string, components: Components): void {
  const placed = [...modulesOf(components)].filter(([, m]) => m.isOnHost === false && !carried.has(m));
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

/** Keeps hooks on the modules that pipelines have now; `attach` and `detach` are called for what changed. */
export class Attachments {
  readonly #policy: OffloadPolicy;
  readonly #attach: (name: string, module: AnyModule) => void;
  readonly #detach: (module: AnyModule) => void;
  readonly #owners = new Map<object, ReadonlyMap<string, AnyModule>>();
  readonly #attached = new Set<AnyModule>();
  /** Updates follow each other: each waits for weights on their way to host memory. */
  #updates: Promise<void> = Promise.resolve();

  constructor(
    policy: OffloadPolicy,
    attach: (name: string, module: AnyModule) => void,
    detach: (module: AnyModule) => void,
  ) {
    this.#policy = policy;
    this.#attach = attach;
    this.#detach = detach;
  }

  /** Takes in components that are in host memory. */
  join(owner: object, components: Components): void {
    this.#owners.set(owner, modulesOf(components));
    for (const [name, module] of this.#missing(owner)) this.#take(name, module);
  }

  /** Takes in what an owner has exchanged; weights that a new component has on the device go to host memory. */
  update(owner: object, components: Components): Promise<void> {
    const update = async (): Promise<void> => {
      if (!this.#owners.has(owner)) return;
      this.#owners.set(owner, modulesOf(components));
      this.#dropUnwanted();
      for (const [name, module] of this.#missing(owner)) {
        await module.toHost();
        this.#take(name, module);
      }
    };
    return (this.#updates = this.#updates.then(update, update));
  }

  leave(owner: object): void {
    this.#owners.delete(owner);
    this.#dropUnwanted();
  }

  /** Modules of an owner that carry no policy yet; those under another one are looked after already. */
  #missing(owner: object): [string, AnyModule][] {
    return [...(this.#owners.get(owner) ?? [])].filter(([, module]) => !carried.has(module));
  }

  #take(name: string, module: AnyModule): void {
    this.#attached.add(module);
    carried.set(module, this.#policy);
    this.#attach(name, module);
  }

  #dropUnwanted(): void {
    const wanted = new Set([...this.#owners.values()].flatMap((modules) => [...modules.values()]));
    for (const module of this.#attached) {
      if (wanted.has(module)) continue;
      this.#attached.delete(module);
      carried.delete(module);
      this.#detach(module);
    }
  }
}
