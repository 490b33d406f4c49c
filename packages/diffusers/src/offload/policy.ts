// The interface of offload policies, and the code that model and sequential offload share.

import { ArgumentError, Module, TracedModule } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';

/** Components by name. Only modules are offloaded; a user's own objects are not. */
export type Components = object;

/** An offload of components' weights. Pipelines that share modules share the policy of these modules. */
export interface OffloadPolicy {
  /** The call that ends it, for messages. */
  readonly undo: string;
  /** True if weights are loaded layer by layer: no component may be traced then. */
  readonly byLayers: boolean;
  /** Settings that a pipeline must agree with to join. */
  readonly settings: string;
  /** Offloads the components of one more pipeline. @throws ArgumentError if their weights are on the device. */
  join(owner: object, components: Components): void;
  /** Starts a call: offloads components that the pipeline has exchanged since its last call. */
  begin(owner: object, components: Components): Promise<void>;
  /** Ends a call, failed or not; the last one running releases all weights from the device. */
  finish(): void;
  /**
   * Ends the offload of components that only this owner has; weights stay in host memory. Default: the policy itself.
   */
  leave(owner?: object): void;
}

/** The components that are modules, by name. */
export function modulesOf(components: Components): Map<string, AnyModule> {
  const modules = Object.entries(components).filter(([, c]) => c instanceof Module) as [string, AnyModule][];
  return new Map(modules);
}

const carried = new WeakMap<AnyModule, OffloadPolicy>();

/** The policies of components, whichever pipeline enabled them. */
export function policiesOf(components: Components): ReadonlySet<OffloadPolicy> {
  const policies = [...modulesOf(components).values()].map((m) => carried.get(m));
  return new Set(policies.filter((policy) => policy !== undefined));
}

/**
 * @throws ArgumentError naming the components whose weights are on the device. Components that are under offload pass:
 * a running call may have loaded them.
 */
export function requireHost(call: string, components: Components): void {
  const placed = [...modulesOf(components)].filter(([, m]) => m.isOnHost === false && !carried.has(m));
  if (placed.length === 0) return;
  throw new ArgumentError(
    `${call}: the weights of ${placed.map(([name]) => name).join(', ')} are on ${placed[0]![1].device!.name} already, ` +
      "offload starts from host memory: load with { weights: 'host' }, or call await pipe.toHost() first",
  );
}

/** For sequential offload. @throws ArgumentError if a component, or a part of one, is traced. */
export function refuseTraced(call: string, components: Components): void {
  for (const [name, module] of modulesOf(components)) {
    for (const [, part] of module.namedModules())
      if (part instanceof TracedModule)
        throw replayNeedsAll(call, `put the module itself in place of the traced ${name}`);
  }
}

/** The error for traces under sequential offload; `remedy` is its advice. */
export const replayNeedsAll = (call: string, remedy: string): ArgumentError =>
  new ArgumentError(
    `${call}: a trace replays with all weights on the device, and sequential offload brings them layer by layer; ` +
      `${remedy}, or use enableModelCpuOffload() for both`,
  );

/**
 * Keeps a policy's hooks on the current modules of all owners: calls `attach` and `detach` for modules that changed.
 */
export class Attachments {
  readonly #policy: OffloadPolicy;
  readonly #attach: (name: string, module: AnyModule) => void;
  readonly #detach: (module: AnyModule) => void;
  readonly #owners = new Map<object, ReadonlyMap<string, AnyModule>>();
  readonly #attached = new Set<AnyModule>();
  /** The last update. Updates run one after the other: each may wait for weights on the way to host memory. */
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

  /** Adds an owner whose components are in host memory. */
  join(owner: object, components: Components): void {
    this.#owners.set(owner, modulesOf(components));
    for (const [name, module] of this.#missing(owner)) this.#adopt(name, module);
  }

  /** Follows an owner's exchanged components; moves the weights of new ones to host memory. */
  update(owner: object, components: Components): Promise<void> {
    const update = async (): Promise<void> => {
      if (!this.#owners.has(owner)) return;
      this.#owners.set(owner, modulesOf(components));
      this.#dropUnwanted();
      for (const [name, module] of this.#missing(owner)) {
        await module.toHost();
        this.#adopt(name, module);
      }
    };
    return (this.#updates = this.#updates.then(update, update));
  }

  leave(owner: object): void {
    this.#owners.delete(owner);
    this.#dropUnwanted();
  }

  /** Modules of an owner that have no policy yet. */
  #missing(owner: object): [string, AnyModule][] {
    return [...(this.#owners.get(owner) ?? [])].filter(([, module]) => !carried.has(module));
  }

  #adopt(name: string, module: AnyModule): void {
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
