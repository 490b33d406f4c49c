// The registry of component classes: names in model_index.json, loaders and savers. fromPretrained, savePretrained and
// everything built on them use this registry alone.

import { FormatError, shorten } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import { lookUp } from '../loading/look-up.ts';
import { builtInComponents } from './built-in.ts';
import type { ComponentClass } from './component-class.ts';

const byName: Record<string, ComponentClass> = {};
const known: ComponentClass[] = [];

/** Adds a class of components; it replaces a class of the same name. */
export function registerComponent<T extends object>(component: ComponentClass<T>): void {
  known.unshift(component as unknown as ComponentClass); // first, so that a subclass is found before its base
  for (const name of component.names) byName[name] = component as unknown as ComponentClass;
}

/** The class of an object; undefined for a user's own objects. */
export function componentClassOf(component: object): ComponentClass | undefined {
  return [...known, ...builtInComponents].find((one) => one.is(component));
}

/** The class of a name; `where` names the component in messages. @throws FormatError that lists the known classes. */
export function componentClassNamed(className: string, where: string): ComponentClass {
  const builtIn = builtInComponents.find(({ names }) => names.includes(className));
  const found = lookUp(byName, className) ?? builtIn;
  if (found) return found;
  const names = [...known, ...builtInComponents].flatMap((one) => one.names);
  throw new FormatError(`${where} is a ${shorten(className)}, known are ${[...new Set(names)].join(', ')}`);
}

/** Loads one component from its folder ('' is the top). @throws FormatError */
export async function loadComponent(
  files: ModelFiles,
  folder: string,
  className: string,
  options: LoadOptions,
): Promise<object> {
  const kind = componentClassNamed(className, `${files.describe()}: '${folder}'`);
  return kind.load(files, folder, className, options);
}
