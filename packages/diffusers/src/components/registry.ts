// The classes that components of a pipeline may have, declared once: what model_index.json calls them, how they are read
// and written. fromPretrained, savePretrained and everything built on them look here and nowhere else.

import { FormatError, shorten } from '@darkroom/core';
import type { ModelFiles } from '../loading/files.ts';
import type { LoadOptions } from '../loading/load-options.ts';
import { lookUp } from '../loading/look-up.ts';
import { builtInComponents } from './built-in.ts';
import type { ComponentClass } from './component-class.ts';

const byName: Record<string, ComponentClass> = {};
const known: ComponentClass[] = [];

/** Adds a class of components; one under a name that is there already takes its place. */
export function registerComponent<T extends object>(component: ComponentClass<T>): void {
  known.unshift(component as unknown as ComponentClass); // asked first: a subclass before its base
  for (const name of component.names) byName[name] = component as unknown as ComponentClass;
}

/** The class of a component that exists; undefined for objects of the user's own. */
export function componentClassOf(component: object): ComponentClass | undefined {
  return [...known, ...builtInComponents].find((one) => one.is(component));
}

/** @throws FormatError that lists the known classes. */
export function componentClassNamed(className: string, where: string): ComponentClass {
  const builtIn = builtInComponents.find(({ names }) => names.includes(className));
  const found = lookUp(byName, className) ?? builtIn;
  if (found) return found;
  const names = [...known, ...builtInComponents].flatMap((one) => one.names);
  throw new FormatError(`${where} is a ${shorten(className)}, known are ${[...new Set(names)].join(', ')}`);
}

/** Reads one component from its folder ('' is the top). */
export async function loadComponent(
  files: ModelFiles,
  folder: string,
  className: string,
  options: LoadOptions,
): Promise<object> {
  const kind = componentClassNamed(className, `${files.describe()}: '${folder}'`);
  return kind.load(files, folder, className, options);
}
