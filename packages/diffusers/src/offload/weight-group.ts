// Weights that come to the device and leave it together.

import { hostCopyOf, isOnHost } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import type { Queue } from '@darkroom/core/backend';

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

  /** Bytes of its weights, wherever they are. */
  get bytes(): number {
    return this.modules.reduce((sum, module) => {
      for (const [, p] of module.ownParameters()) sum += p.bytes;
      return sum;
    }, 0);
  }

  /**
   * Brings to the device what is in host memory, in the order of `queue` if one is given; `reserved` is called when all
   * memory is taken and nothing is copied yet. When it throws, nothing stays on the device.
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

  /** Frees the device's copies. Weights that did not come from host memory stay: the user put them there. */
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
