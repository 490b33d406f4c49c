// Model offload: one component on the device at a time. A call of any part of a component loads it and evicts the one
// before, so the UNet stays on the device during the loop. A trace's memory is freed with the weights that it reads.
// Reference: diffusers' enable_model_cpu_offload.

import { isRecording } from '@darkroom/core/graph';
import type { AnyModule, Hook } from '@darkroom/core';
import { Attachments, requireHost } from './policy.ts';
import type { Components, OffloadPolicy } from './policy.ts';
import { WeightGroup } from './weight-group.ts';

const hookName = 'model offload';

/** A component and its direct children, which get hooks: methods like a VAE's encode call only children. */
function* entries(module: AnyModule): Generator<AnyModule> {
  yield module;
  for (const [, child] of module.namedChildren()) yield child;
}

/** Model offload of one or several pipelines' components. Reference: diffusers' enable_model_cpu_offload. */
export class ModelOffload implements OffloadPolicy {
  readonly undo = 'disableModelCpuOffload()';
  readonly byLayers = false;
  readonly settings = '';
  readonly #groups = new Map<AnyModule, WeightGroup>();
  readonly #attachments: Attachments;
  /** The groups on the device: one, or several that one call needs together. */
  #current: ReadonlySet<WeightGroup> = new Set();
  #calls = 0;

  /** Offloads `components` for `owner`; other owners may join. @throws ArgumentError if weights are on the device. */
  constructor(components: Components, owner?: object) {
    this.#attachments = new Attachments(
      this,
      (name, module) => this.#attach(name, module),
      (module) => this.#detach(module),
    );
    this.join(owner ?? this, components);
  }

  /** Offloads the components of one more owner. @throws ArgumentError if weights are on the device. */
  join(owner: object, components: Components): void {
    requireHost('enableModelCpuOffload', components);
    this.#attachments.join(owner, components);
  }

  #attach(name: string, module: AnyModule): void {
    const group = new WeightGroup(
      name,
      [...module.namedModules()].map(([, m]) => m),
    );
    this.#groups.set(module, group);
    const use = (together: readonly object[]): void => {
      if (isRecording()) return; // a recording reads only shapes, which the placeholders have
      this.#use(new Set([group, ...this.#groupsOf(together)]));
    };
    const hook: Hook = {
      name: hookName,
      traceable: true,
      preForward: () => use([]),
      bringWeights: (_, together) => use(together),
    };
    for (const entry of entries(module)) entry.addHook(hook);
  }

  #detach(module: AnyModule): void {
    const group = this.#groups.get(module)!;
    this.#groups.delete(module);
    this.#current = new Set([...this.#current].filter((one) => one !== group));
    group.release();
    for (const entry of entries(module)) entry.removeHook(hookName);
  }

  #groupsOf(modules: readonly object[]): readonly WeightGroup[] {
    return modules.map((m) => this.#groups.get(m as AnyModule)).filter((group) => group !== undefined);
  }

  /** Loads the groups of `wanted` and releases all others. */
  #use(wanted: ReadonlySet<WeightGroup>): void {
    if ([...wanted].every((group) => this.#current.has(group))) return;
    const leaving = [...this.#current].filter((group) => !wanted.has(group));
    for (const group of leaving) group.release();
    const [first] = wanted;
    if (leaving.length > 0) first!.modules[0]!.device!.emptyCache(); // its blocks fit no weight of the next component
    this.#current = new Set([...this.#current].filter((group) => wanted.has(group)));
    for (const group of wanted) {
      group.load();
      this.#current = new Set([...this.#current, group]);
    }
  }

  /** Starts a call of an owner: offloads components that it has exchanged since its last call. */
  async begin(owner: object, components: Components): Promise<void> {
    this.#calls++;
    await this.#attachments.update(owner, components);
  }
  /** Ends a call; the last one running releases all weights from the device. */
  finish(): void {
    if (--this.#calls > 0) return;
    this.#calls = 0;
    for (const group of this.#current) group.release();
    this.#current = new Set();
  }
  /** Ends the offload of an owner's components that no other owner has; weights stay in host memory. */
  leave(owner: object = this): void {
    this.#attachments.leave(owner);
  }
}
