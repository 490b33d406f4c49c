// An entry of the component registry: a class of components, and how it is loaded and saved.

import type { ModelFiles } from '../loading/files.ts';
import type { LoadOptions } from '../loading/load-options.ts';

/** A file of a component, by its name in the component's folder. */
export interface ComponentFile {
  readonly name: string;
  readonly data: string | Uint8Array | AsyncIterable<Uint8Array>;
}

/** A class of components: its names in model_index.json, and its loader and saver. */
export interface ComponentClass<T extends object = object> {
  /** Class names of model_index.json that mean this class. */
  readonly names: readonly string[];
  /** The Python library that model_index.json names beside the class: 'diffusers' or 'transformers'. */
  readonly library: string;
  /** True if `component` is an instance of this class. */
  is(component: object): boolean;
  /** The class name written to model_index.json; default: the first of `names`. */
  nameOf?(component: T): string;
  /** Reads config, then weights; an error leaves nothing on the device. `className` is one of `names`. */
  load(files: ModelFiles, folder: string, className: string, options: LoadOptions): Promise<T>;
  /** The files of a component, which load() can read. */
  save(component: T): readonly ComponentFile[];
}
