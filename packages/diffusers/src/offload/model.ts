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
  readonly #groups = new Map<string, WeightGroup>();
  readonly #attachments: Attachments;
  #current: WeightGroup | undefined;

  /** @throws ArgumentError when weights are on the device already. */
  constructor(components: Components) {
    requireHost('enableModelCpuOffload', components);
    this.#attachments = new Attachments(
      (name, module) => this.#attach(name, module),
      (name, module) => this.#detach(name, module),
    );
    this.#attachments.attach(components);
  }

  #attach(name: string, module: AnyModule): void {
    const group = new WeightGroup(
      name,
      [...module.namedModules()].map(([, m]) => m),
    );
    this.#groups.set(name, group);
    const bringWeights = (): void => {
      if (!isRecording()) this.#use(group); // a recording needs shapes only, and those the placeholders have
    };
    const hook: Hook = { name: hookName, traceable: true, preForward: bringWeights, bringWeights };
    for (const entry of entries(module)) entry.addHook(hook);
  }

  #detach(name: string, module: AnyModule): void {
    const group = this.#groups.get(name)!;
    this.#groups.delete(name);
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

  async begin(components: Components): Promise<void> {
    await this.#attachments.update(components);
  }
  finish(): void {
    this.#current?.release();
    this.#current = undefined;
  }
  remove(): void {
    this.finish();
    this.#attachments.remove();
  }
}
