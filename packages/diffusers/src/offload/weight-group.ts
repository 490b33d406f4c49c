// A group of modules whose weights are loaded to the device and released together.

import { hostCopyOf, isOnHost } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import type { Queue } from '@darkroom/core/backend';

/** The weights of some modules, in host memory or on the device. */
export class WeightGroup {
  readonly name: string;
  readonly modules: readonly AnyModule[];
  #loaded = false;

  constructor(name: string, modules: readonly AnyModule[]) {
    this.name = name;
    this.modules = modules;
  }

  get isLoaded(): boolean {
    return this.#loaded;
  }

  /** Bytes of the weights, on the device or in host memory. */
  get bytes(): number {
    return this.modules.reduce((sum, module) => {
      for (const [, p] of module.ownParameters()) sum += p.bytes;
      return sum;
    }, 0);
  }

  /**
   * Copies the weights in host memory to the device, on `queue` if one is given. Calls `reserved` when all device
   * memory is allocated and nothing is copied yet. After an error nothing stays on the device.
   */
  load(queue?: Queue, reserved?: () => void): void {
    if (this.#loaded) return;
    this.#loaded = true;
    try {
      const filled: (() => void)[] = [];
      for (const module of this.modules) {
        for (const [key, p] of [...module.ownParameters()]) {
          if (!isOnHost(p)) continue;
          const copy = hostCopyOf(p)!;
          const out = copy.reserve();
          module.setParameter(key, out);
          filled.push(() => copy.fill(out, queue));
        }
      }
      reserved?.();
      for (const fill of filled) fill();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Frees the device's copies. Weights without a host copy stay on the device. */
  release(): void {
    if (!this.#loaded) return;
    this.#loaded = false;
    for (const module of this.modules) {
      for (const [key, p] of [...module.ownParameters()]) {
        const copy = hostCopyOf(p);
        if (copy && !p.isAbstract && !p.isDisposed) module.setParameter(key, copy.placeholder());
      }
      module.weightsLeft();
    }
  }
}
