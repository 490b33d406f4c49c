// The name of a model, as it is written beside pictures: it tells which model, and nothing of the machine.

import type { ModelFiles, ModelSource } from './files.ts';

/** A hub id as it is; of a folder or an address the last part of its path; undefined where neither tells a name. */
export function nameOfModel(model: ModelSource): string | undefined {
  if (typeof model === 'string') return nameOfPlace(model);
  if (typeof (model as ModelFiles).describe === 'function')
    return nameOfPlace((model as ModelFiles).describe());
  const index: unknown = (model as Readonly<Record<string, URL>>)['model_index.json'];
  if (!(index instanceof URL) || !index.pathname.endsWith('/model_index.json')) return undefined;
  return nameOfPlace(decodeURIComponent(index.pathname.slice(0, -'/model_index.json'.length)));
}

function nameOfPlace(place: string): string | undefined {
  if (/^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(place)) return place;
  const parts = place.replace(/[?#].*$/, '').split(/[/\\]/);
  return parts.findLast((part) => part !== '' && part !== '.' && part !== '..');
}
