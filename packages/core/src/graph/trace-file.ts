// Traces as a file: JSON with every traced call (its arguments, its graph, its result) of one module. It names the
// weights and contains the tensors that were captured as constants. A file is data from a stranger: all of it is
// checked.

import { isDType, dtypes } from '../dtype.ts';
import type { DType } from '../dtype.ts';
import { FormatError, formatShape } from '../errors.ts';
import { elementCount } from '../layout.ts';
import { fromBase64, toBase64 } from './base64.ts';
import type { Graph } from './graph.ts';
import { checkGraph, isRecord, parseJson } from './serialize.ts';
import { validateTemplate } from './signature.ts';
import type { Template } from './signature.ts';

const format = 'darkroom.trace';
/** Bump when the meaning of the file changes; ops have a version of their own, in each graph. */
const version = 1;

/** A tensor that a trace captured, as bytes. */
export interface SavedConstant {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** One traced call of a module. */
export interface SavedTrace {
  readonly args: Template;
  readonly result: Template;
  /** The recorded graph; passes run when the file is loaded, so that old files gain from better passes. */
  readonly graph: Graph;
  readonly constants: ReadonlyMap<string, SavedConstant>;
}

/** The content of a trace file. */
export interface SavedModule {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly dtype: DType;
  readonly traces: readonly SavedTrace[];
}

/** The text of a trace file. */
export function serializeTraces(saved: SavedModule): string {
  const traces = saved.traces.map(({ constants, ...rest }) => ({
    ...rest,
    constants: Object.fromEntries(
      [...constants].map(([name, { bytes, ...spec }]) => [name, { ...spec, base64: toBase64(bytes) }]),
    ),
  }));
  return JSON.stringify({ format, version, ...saved, traces });
}

/** Parses and checks; throws FormatError naming `source`. */
export function parseTraces(text: string, source: string): SavedModule {
  const fail = (message: string): never => {
    throw new FormatError(`${source}: ${message}`);
  };
  const json = parseJson(text, source);
  if (!isRecord(json) || json['format'] !== format) return fail(`is not a trace (no format '${format}')`);
  if (json['version'] !== version)
    fail(`has version ${JSON.stringify(json['version'])}, this version reads ${version}`);
  const { name, config, dtype, traces } = json;
  if (typeof name !== 'string') return fail("has no 'name'");
  if (!isRecord(config)) return fail("has no 'config'");
  if (!isDType(dtype)) return fail(`has unknown dtype ${JSON.stringify(dtype)}`);
  if (!Array.isArray(traces) || traces.length === 0 || traces.length > 1000)
    return fail("has no list of 1 to 1000 'traces'");
  return { name, config, dtype, traces: traces.map((t, i) => checkTrace(t, `${source}: trace ${i}`)) };
}

function checkTrace(json: unknown, where: string): SavedTrace {
  if (!isRecord(json)) throw new FormatError(`${where}: is not an object`);
  const graph = checkGraph(json['graph'], where);
  const args = validateTemplate(json['args'], `${where}: args`);
  const result = validateTemplate(json['result'], `${where}: result`);
  if (!Array.isArray(args.template)) throw new FormatError(`${where}: args are not a list`);
  sameNames(args.names, graph.inputs, `${where}: args`);
  sameNames(result.names, graph.outputs, `${where}: result`);
  return {
    args: args.template,
    result: result.template,
    graph,
    constants: checkConstants(json['constants'], graph, where),
  };
}

/** Checks that the call names each input and output of the graph once, and nothing else. */
function sameNames(
  names: readonly string[],
  values: readonly { readonly name: string }[],
  where: string,
): void {
  const wanted = new Set(values.map((v) => v.name));
  const given = new Set(names);
  const stray = names.find((n) => !wanted.has(n)) ?? [...wanted].find((n) => !given.has(n));
  if (stray !== undefined || given.size !== names.length || wanted.size !== values.length)
    throw new FormatError(
      `${where}: do not name the values of the graph once each (${stray ?? 'one twice'})`,
    );
}

function checkConstants(json: unknown, graph: Graph, where: string): Map<string, SavedConstant> {
  if (!isRecord(json)) throw new FormatError(`${where}: has no 'constants'`);
  return new Map(
    graph.constants.map(({ name, dtype, shape }) => {
      const given = Object.hasOwn(json, name) ? json[name] : undefined;
      const text = isRecord(given) ? given['base64'] : undefined;
      const bytes = typeof text === 'string' ? fromBase64(text) : undefined;
      const need = elementCount(shape) * dtypes[dtype].bytes;
      if (bytes?.length !== need) {
        throw new FormatError(
          `${where}: constant '${name}' is ${dtype}${formatShape(shape)}, ${need} bytes, got ${bytes?.length ?? 'none'}`,
        );
      }
      return [name, { dtype, shape, bytes }];
    }),
  );
}
