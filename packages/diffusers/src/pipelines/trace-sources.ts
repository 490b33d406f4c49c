// What a recording of a pipeline's part depends on: the objects whose code it recorded, and the weights that it reads.

import { Module } from '@darkroom/core';
import type { Named } from '@darkroom/core/graph';
import { Attention } from '../models/attention.ts';
import type { DenoiserModule } from './recipe.ts';

/** Numbers objects: the same object always gets the same number. */
class Ids {
  readonly #known = new WeakMap<object, number>();
  #last = 0;
  of(object: object): number {
    const id = this.#known.get(object) ?? ++this.#last;
    this.#known.set(object, id);
    return id;
  }
}

/** Keys of modules with their submodules, adapters, attention processors and strategies. */
export class TraceSources {
  readonly #ids = new Ids();

  /** A key that changes when one of those objects is replaced; ends in ':'. */
  keyOf(modules: readonly DenoiserModule[]): string {
    const sources = modules.flatMap((m) => sourcesOf(m));
    return `${sources.map((s) => this.#ids.of(s)).join(' ')}:`;
  }
}

function sourcesOf(m: DenoiserModule): readonly object[] {
  if (!(m instanceof Module))
    return [m, ...Object.values(m.attnProcessors ?? {}), ...Object.values(m.attnStrategies ?? {})];
  const all: object[] = [];
  for (const [, part] of m.namedModules()) {
    all.push(part);
    if (part instanceof Attention) all.push(part.processor, part.strategy);
  }
  return all;
}

/** Weights of all modules by name; those of modules after the first have a prefix. */
export function weightsOf(modules: readonly DenoiserModule[]): Named {
  const all = modules.flatMap((m, n) =>
    [...(m.parameters?.() ?? m.stateDict!())].map(([key, t]) => [n === 0 ? key : `${n}:${key}`, t] as const),
  );
  return new Map(all);
}
