// Checks that a trace's file belongs to given weights: one error lists the differences, cut short.

import { FormatError } from '../errors.ts';
import type { NamedValue } from './graph.ts';
import type { Named } from './plan-data.ts';
import type { SavedModule } from './trace-file.ts';
import { typeOf } from './traced-call.ts';

const mostNames = 3;
const mostLetters = 120;

function cutShort(names: readonly string[]): string {
  const shown = names
    .slice(0, mostNames)
    .map((n) => (n.length <= mostLetters ? n : `${n.slice(0, mostLetters)}…`));
  return names.length <= mostNames ? shown.join(', ') : `${shown.join(', ')}, … (${names.length})`;
}

/** Compares weights. @throws FormatError naming those of the traced module that `params` lacks or has otherwise. */
export function checkWeights(saved: SavedModule, params: Named, source: string): void {
  const wanted = new Map<string, NamedValue>();
  for (const { graph } of saved.traces) for (const value of graph.params) wanted.set(value.name, value);
  const missing = [...wanted.keys()].filter((name) => !params.has(name));
  const others = [...wanted.values()].flatMap((value) => {
    const here = params.get(value.name);
    if (!here || typeOf(here) === typeOf(value)) return [];
    return [`'${value.name}' is ${typeOf(value)} there, ${typeOf(here)} here`];
  });
  if (missing.length === 0 && others.length === 0) return;
  const extra = [...params.keys()].filter((name) => !wanted.has(name));
  const said = [
    missing.length > 0 &&
      `${missing.length} ${missing.length === 1 ? 'is' : 'are'} missing (${cutShort(missing)})`,
    others.length > 0 &&
      `${others.length} ${others.length === 1 ? 'has' : 'have'} another type (${cutShort(others)})`,
    missing.length > 0 && extra.length > 0 && `instead there are ${cutShort(extra)}`,
  ];
  throw new FormatError(
    `${source}: is a trace of '${saved.name}' with other weights than these ${params.size}: of its ${wanted.size}, ${said.filter((text) => text !== false).join('; ')}`,
  );
}
