// savePretrained: writes a pipeline as a Hugging Face folder. An existing model stays until the new files are complete.

import { join } from 'node:path';
import { ArgumentError } from '@darkroom/core';
import { writeFilesTogether } from '@darkroom/core/node';
import { writePythonJson } from '../../loading/json.ts';
import type { ComponentClass } from '../component-class.ts';
import { componentClassOf } from '../registry.ts';
import type { ComponentSlots } from '../slots.ts';

/** The parts of a pipeline that are saved. */
export interface SavedPipeline {
  readonly className: string;
  readonly slots: ComponentSlots;
  readonly components: object;
  /** model_index.json as it was read. */
  readonly index: Readonly<Record<string, unknown>>;
}

/** Writes every component and model_index.json. @throws ArgumentError for a component of no registered class */
export async function savePipeline(pipe: SavedPipeline, folder: string): Promise<void> {
  const components = Object.entries(pipe.components) as [string, object][];
  const saved = components.map(([name, component]) => {
    const kind = componentClassOf(component) ?? refuse(component);
    return { place: pipe.slots[name]!.folder, component, kind };
  });
  const files = saved.flatMap(({ place, component, kind }) =>
    kind.save(component).map(({ name, data }) => ({ path: join(folder, place, name), data })),
  );
  // The index is replaced last.
  const index = {
    ...pipe.index,
    _class_name: pipe.className,
    ...Object.fromEntries(saved.map(({ place, component, kind }) => [place, nameOf(kind, component)])),
  };
  const path = join(folder, 'model_index.json');
  await writeFilesTogether([...files, { path, data: writePythonJson(index) }]);
}

/** Library and class as model_index.json names them. */
function nameOf(kind: ComponentClass, component: object): readonly [string, string] {
  return [kind.library, kind.nameOf?.(component) ?? kind.names[0]!];
}

function refuse(component: object): never {
  throw new ArgumentError(
    `savePretrained: a component of class ${component.constructor.name} has no file format`,
  );
}
