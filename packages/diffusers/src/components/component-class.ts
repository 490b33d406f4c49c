// What the registry knows of a class of components.

import type { ModelFiles } from '../loading/files.ts';
import type { LoadOptions } from '../loading/load-options.ts';

/** A file of a component, by its name in the component's folder. */
export interface ComponentFile {
  readonly name: string;
  readonly data: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export interface ComponentClass<T extends object = object> {
  /** Class names of model_index.json that mean this class. */
  readonly names: readonly string[];
  /** The Python library that model_index.json names beside the class: 'diffusers' or 'transformers'. */
  readonly library: string;
  is(component: object): boolean;
  /** The class name that is saved. Default: the first of `names`. */
  nameOf?(component: T): string;
  /** Reads config, then weights; an error leaves nothing on the device. `className` is one of `names`. */
  load(files: ModelFiles, folder: string, className: string, options: LoadOptions): Promise<T>;
  /** What load() reads again. */
  save(component: T): readonly ComponentFile[];
}
