// fromPretrained: a folder, hub id or other files → components. model_index.json names class and library of each; every
// config and weight file is checked before it is used, and an error leaves nothing on the device.

import { FormatError, Module, shorten } from '@darkroom/core';
import type { AnyModule } from '@darkroom/core';
import type { ModelFiles, ModelSource } from '../loading/files.ts';
import { openModel } from '../loading/hub.ts';
import { describeJson, readJson } from '../loading/json.ts';
import { checkLoadOptions } from '../loading/load-options.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import type { ConfigRecord } from '../models/config.ts';
import { loadComponent } from './registry.ts';
import { leftOut } from './slots.ts';
import type { ComponentSlots } from './slots.ts';

/**
 * Loads one model: its config, then its weights. `folder` '' is the top of `files`.
 * @throws FormatError for bad files, and if `className` is no class of models
 */
export async function loadModel(
  files: ModelFiles,
  folder: string,
  className: string,
  options: LoadOptions,
): Promise<AnyModule> {
  const model = await loadComponent(files, folder, className, options);
  if (model instanceof Module) return model as AnyModule;
  throw new FormatError(`${files.describe()}: '${folder}' is a ${shorten(className)}, which is not a model`);
}

/** The content of model_index.json, and the components by the names of the pipeline's slots. */
export interface LoadedComponents {
  readonly index: ConfigRecord;
  readonly components: Readonly<Record<string, object>>;
}

/**
 * Loads the components of a pipeline's slots, except those in `given`. An optional component that the folder does not
 * have is left out. @throws FormatError; nothing stays loaded then
 */
export async function loadComponents(
  model: ModelSource,
  options: LoadOptions,
  given: Readonly<Record<string, object | undefined>>,
  wanted: { readonly className: string; readonly slots: ComponentSlots },
): Promise<LoadedComponents> {
  checkLoadOptions(options);
  const files = await openModel(model, options);
  const index = await readJson(files, 'model_index.json');
  const source = `${files.describe()}/model_index.json`;
  const named = namedClasses(index, source, given, wanted);
  const components: Record<string, object> = {};
  const loadedHere: AnyModule[] = [];
  try {
    for (const [folder, className] of named) {
      const [name] = Object.entries(wanted.slots).find(([, slot]) => slot.folder === folder)!;
      if (given[name] !== undefined) continue;
      const component = (components[name] = await loadComponent(files, folder, className, options));
      if (component instanceof Module) loadedHere.push(component as AnyModule);
    }
    return { index, components: { ...components, ...defined(given) } };
  } catch (error) {
    for (const module of loadedHere) module.dispose();
    throw error;
  }
}

const defined = (given: Readonly<Record<string, object | undefined>>): Record<string, object> =>
  Object.fromEntries(Object.entries(given).filter(([, one]) => one !== undefined)) as Record<string, object>;

/** Folder → class of the components to load, in the index's order. @throws FormatError for missing and unknown ones */
function namedClasses(
  index: ConfigRecord,
  source: string,
  given: Readonly<Record<string, object | undefined>>,
  { className, slots }: { readonly className: string; readonly slots: ComponentSlots },
): ReadonlyMap<string, string> {
  const fail = (rule: string): never => {
    throw new FormatError(`${source}: ${rule}`);
  };
  const isGiven = new Set<string>();
  for (const [name, { folder, optional = false }] of Object.entries(slots)) {
    const entry = index[folder];
    const isNamed = Array.isArray(entry) && typeof entry[1] === 'string';
    if (given[name] !== undefined) isGiven.add(folder);
    else if (!isNamed && !optional) fail(`names no '${folder}', which a ${className} needs`);
  }
  const folders = new Set(Object.values(slots).map(({ folder }) => folder));
  const classes = new Map<string, string>();
  for (const [folder, entry] of Object.entries(index)) {
    if (folder.startsWith('_') || !Array.isArray(entry) || isGiven.has(folder)) continue;
    const [library, name] = entry as unknown[];
    if (library === null || name === null || (leftOut.has(folder) && !folders.has(folder))) continue;
    if (typeof name !== 'string') return fail(`'${shorten(folder)}' names no class`);
    if (!/^[A-Za-z0-9_.-]+$/.test(folder) || folder.includes('..'))
      fail(`component '${shorten(folder)}' is not a plain folder name`);
    if (!folders.has(folder))
      fail(`a ${className} has no '${shorten(folder)}'; the folder is of a ${classOf(index)}`);
    classes.set(folder, name);
  }
  return classes;
}

function classOf({ _class_name: name }: ConfigRecord): string {
  return typeof name === 'string' ? shorten(name) : describeJson(name);
}
