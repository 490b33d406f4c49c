// Model offload: one component on the device at a time. A component comes when any part of it is called and pushes out
// the one before, so the UNet stays while the loop runs. What replays hold goes with the weights that they read.
// Reference: diffusers' enable_model_cpu_offload.

import { isRecording } from '@darkroom/core/graph';
import type { AnyModule, Hook } from '@darkroom/core';
import { Attachments, requireHost } from './policy.ts';
import type { Components, OffloadPolicy } from './policy.ts';
import { WeightGroup } from './weight-group.ts';

const hookName = 'model offload';

/** The component and its direct children: some are used through methods that call only their children (a VAE's decode). */
function* entries(module: AnyModule): Generator<AnyModule> {
  yield module;
  for (const [, child] of module.namedChildren()) yield child;
}

export class ModelOffload implements OffloadPolicy {
  readonly undo = 'disableModelCpuOffload()';
  readonly byLayers = false;
  readonly settings = '';
  readonly #groups = new Map<AnyModule, WeightGroup>();
  readonly #attachments: Attachments;
  /** The groups on the device: one, or those that are needed together. */
  #current: ReadonlySet<WeightGroup> = new Set();
  #calls = 0;

  /** For one owner of `components`; others may join. @throws ArgumentError when weights are on the device already. */
  constructor(components: Components, owner?: object) {
    this.#attachments = new Attachments(
      this,
      (name, module) => this.#attach(name, module),
      (module) => this.#detach(module),
    );
    this.join(owner ?? this, components);
  }

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
      if (isRecording()) return; // a recording needs shapes only, and those the placeholders have
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

  /** Brings groups that are needed together, in place of those that were; what is there already stays. */
  #use(wanted: ReadonlySet<WeightGroup>): void {
    if ([...wanted].every((group) => this.#current.has(group))) return;
    const leaving = [...this.#current].filter((group) => !wanted.has(group));
    for (const group of leaving) group.release();
    const [first] = wanted;
    if (leaving.length > 0) first!.modules[0]!.device!.emptyCache(); // of sizes that the next component does not have
    this.#current = new Set([...this.#current].filter((group) => wanted.has(group)));
    for (const group of wanted) {
      group.load();
      this.#current = new Set([...this.#current, group]);
    }
  }

  async begin(owner: object, components: Components): Promise<void> {
    this.#calls++;
    await this.#attachments.update(owner, components);
  }
  finish(): void {
    if (--this.#calls > 0) return;
    this.#calls = 0;
    for (const group of this.#current) group.release();
    this.#current = new Set();
  }
  leave(owner: object = this): void {
    this.#attachments.leave(owner);
  }
}
