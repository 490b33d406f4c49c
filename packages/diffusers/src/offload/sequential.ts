// Sequential offload: weights of a leaf module, or a group of leaves, are on the device only while it computes.
// Meanwhile the group that followed it last time is loaded on the copy queue, so two groups are on the device at once.
// Reference: diffusers' enable_sequential_cpu_offload.

import { ArgumentError, checkOptions } from '@darkroom/core';
import { isRecording } from '@darkroom/core/graph';
import type { AnyModule, Device, Hook, OptionNames } from '@darkroom/core';
import type { Queue } from '@darkroom/core/backend';
import { Attachments, refuseTraced, requireHost } from './policy.ts';
import type { Components, OffloadPolicy } from './policy.ts';
import { WeightGroup } from './weight-group.ts';

/** Options of sequential offload; groupSize and maxMemory exclude each other. */
export interface SequentialOffloadOptions {
  /** Leaf modules in a group; default 1. */
  readonly groupSize?: number;
  /** Bytes of a group at most; a single larger leaf is a group of its own. */
  readonly maxMemory?: number;
  /** Load the next group while one computes; default true. False: one group is on the device at a time. */
  readonly prefetch?: boolean;
}

const optionNames: OptionNames<SequentialOffloadOptions> = {
  groupSize: true,
  maxMemory: true,
  prefetch: true,
};

const hookName = 'sequential offload';

/** A group of leaf modules and its use. */
interface Entry {
  readonly group: WeightGroup;
  /** Running forward passes of its modules. */
  uses: number;
  /** The group that was used after it last time. */
  next: Entry | undefined;
}

interface Queues {
  readonly device: Device;
  readonly compute: Queue;
  readonly copy: Queue;
}

/** Sequential offload of one or several pipelines' components. Reference: diffusers' enable_sequential_cpu_offload. */
export class SequentialOffload implements OffloadPolicy {
  readonly undo = 'disableSequentialCpuOffload()';
  readonly byLayers = true;
  readonly settings: string;
  readonly #options: SequentialOffloadOptions;
  readonly #attachments: Attachments;
  readonly #entries = new Map<AnyModule, Entry>();
  #current: Entry | undefined;
  #prefetched: Entry | undefined;
  #queues: Queues | undefined;
  #calls = 0;

  /**
   * Offloads `components` for `owner`; other owners may join.
   * @throws ArgumentError if weights are on the device or a module is traced, and for bad options
   */
  constructor(components: Components, options: SequentialOffloadOptions = {}, owner?: object) {
    checkOptions('enableSequentialCpuOffload', options, optionNames);
    for (const name of ['groupSize', 'maxMemory'] as const) {
      const value = options[name];
      if (value !== undefined && !(Number.isInteger(value) && value > 0))
        throw new ArgumentError(
          `enableSequentialCpuOffload: ${name} must be a positive integer, got ${value}`,
        );
    }
    if (options.groupSize !== undefined && options.maxMemory !== undefined)
      throw new ArgumentError('enableSequentialCpuOffload: give groupSize or maxMemory, not both');
    this.#options = options;
    this.settings = sequentialSettings(options);
    this.#attachments = new Attachments(
      this,
      (name, module) => this.#attach(name, module),
      (module) => this.#detach(module),
    );
    this.join(owner ?? this, components);
  }

  /**
   * Offloads the components of one more owner.
   * @throws ArgumentError if weights are on the device or a module is traced.
   */
  join(owner: object, components: Components): void {
    requireHost('enableSequentialCpuOffload', components);
    refuseTraced('enableSequentialCpuOffload', components);
    this.#attachments.join(owner, components);
  }

  #attach(name: string, component: AnyModule): void {
    const leaves = [...component.namedModules()].map(([, m]) => m).filter(hasParameters);
    const groups = grouped(leaves, this.#options).map(
      (modules, i) => new WeightGroup(`${name} ${i}`, modules),
    );
    for (const group of groups) {
      const entry: Entry = { group, uses: 0, next: undefined };
      for (const module of group.modules) {
        this.#entries.set(module, entry);
        module.addHook(this.#hook(entry));
      }
    }
  }

  #detach(component: AnyModule): void {
    for (const [, module] of component.namedModules()) {
      const entry = this.#entries.get(module);
      if (!entry) continue;
      entry.group.release();
      this.#entries.delete(module);
      module.removeHook(hookName);
    }
  }

  #hook(entry: Entry): Hook {
    return {
      name: hookName,
      traceable: true,
      preForward: () => {
        if (isRecording()) return; // a recording reads only shapes, which the placeholders have
        this.#use(entry);
        entry.uses++;
      },
      postForward: () => {
        if (!isRecording()) entry.uses--;
      },
    };
  }

  #use(entry: Entry): void {
    const { prefetch = true } = this.#options;
    const last = this.#current;
    if (last === entry) return;
    if (last) last.next = entry;
    const queues = prefetch ? this.#open(entry) : undefined;
    this.#awaitPrefetched();
    if (this.#prefetched !== entry && this.#prefetched?.uses === 0) this.#prefetched.group.release();
    this.#prefetched = undefined;
    if (last && last.uses === 0) last.group.release();
    entry.group.load();
    this.#current = entry;
    const { next } = entry;
    if (!queues || !next || next === entry || next.group.isLoaded) return;
    // The compute queue may still use the memory that the next group gets: the copy queue waits for it.
    next.group.load(queues.copy, () => queues.device.backend.fence(queues.compute, queues.copy));
    this.#prefetched = next;
  }

  /** Makes the compute queue wait for the prefetched copies, before their weights or their memory are used. */
  #awaitPrefetched(): void {
    const queues = this.#queues;
    if (this.#prefetched && queues) queues.device.backend.fence(queues.copy, queues.compute);
  }

  #open(entry: Entry): Queues {
    const device = entry.group.modules[0]!.device!;
    if (this.#queues?.device !== device) {
      const { backend } = device;
      this.#queues = { device, compute: backend.createQueue('compute'), copy: backend.createQueue('copy') };
    }
    return this.#queues;
  }

  /** Starts a call of an owner: offloads components that it has exchanged since its last call. @throws ArgumentError */
  async begin(owner: object, components: Components): Promise<void> {
    this.#calls++;
    refuseTraced('sequential offload', components);
    await this.#attachments.update(owner, components);
  }
  /** Ends a call; the last one running releases all weights from the device. */
  finish(): void {
    if (--this.#calls > 0) return;
    this.#calls = 0;
    this.#release();
  }
  /** Ends the offload of an owner's components that no other owner has; weights stay in host memory. */
  leave(owner: object = this): void {
    this.#release();
    this.#attachments.leave(owner);
  }

  #release(): void {
    this.#awaitPrefetched();
    for (const entry of this.#entries.values()) {
      entry.uses = 0; // a pass that threw did not count down
      entry.group.release();
    }
    this.#current = this.#prefetched = undefined;
  }
}

/** The options with their defaults as a text, to compare those of two pipelines. */
export function sequentialSettings({
  groupSize,
  maxMemory,
  prefetch = true,
}: SequentialOffloadOptions): string {
  const size = maxMemory === undefined ? `groupSize: ${groupSize ?? 1}` : `maxMemory: ${maxMemory}`;
  return `{ ${size}, prefetch: ${prefetch} }`;
}

function hasParameters(module: AnyModule): boolean {
  for (const _ of module.ownParameters()) return true;
  return false;
}

/** Groups of neighbouring leaves, by groupSize or maxMemory. */
function grouped(
  leaves: readonly AnyModule[],
  { groupSize = 1, maxMemory }: SequentialOffloadOptions,
): readonly (readonly AnyModule[])[] {
  const groups: AnyModule[][] = [];
  let bytes = 0;
  for (const leaf of leaves) {
    const own = new WeightGroup('', [leaf]).bytes;
    const last = groups.at(-1);
    const fits = maxMemory === undefined ? last && last.length < groupSize : bytes + own <= maxMemory;
    if (last && fits) {
      last.push(leaf);
      bytes += own;
    } else {
      groups.push([leaf]);
      bytes = own;
    }
  }
  return groups;
}
