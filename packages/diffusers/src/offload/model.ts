// Model offload: one component on the device at a time. A component comes when any part of it is called and pushes out
// the one before, so the UNet stays while the loop runs. What replays hold goes with the weights that they read.
// Reference: diffusers' enable_model_cpu_offload.

import { isRecording } from '@darkroom/core';
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
  #current: WeightGroup | undefined;
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
    const bringWeights = (): void => {
      if (!isRecording()) this.#use(group); // a recording needs shapes only, and those the placeholders have
    };
    const hook: Hook = { name: hookName, traceable: true, preForward: bringWeights, bringWeights };
    for (const entry of entries(module)) entry.addHook(hook);
  }

  #detach(module: AnyModule): void {
    const group = this.#groups.get(module)!;
    this.#groups.delete(module);
    if (this.#current === group) this.#current = undefined;
    group.release();
    for (const entry of entries(module)) entry.removeHook(hookName);
  }

  #use(group: WeightGroup): void {
    if (this.#current === group) return;
    if (this.#current) {
      this.#current.release();
      group.modules[0]!.device!.emptyCache(); // of sizes that the next component does not have
    }
    this.#current = undefined;
    group.load();
    this.#current = group;
  }

  async begin(owner: object, components: Components): Promise<void> {
    this.#calls++;
    await this.#attachments.update(owner, components);
  }
  finish(): void {
    if (--this.#calls > 0) return;
    this.#calls = 0;
    this.#current?.release();
    this.#current = undefined;
  }
  leave(owner: object = this): void {
    this.#attachments.leave(owner);
  }
}
