// Graphs as JSON text. A file is data from a stranger: everything is checked before a Graph is returned, and every
// node's shape is inferred again and compared, so that no unchecked op runs later.

import { isDType } from '../dtype.ts';
import { DarkroomError, FormatError, formatShape } from '../errors.ts';
import { elementCount, isDense } from '../layout.ts';
import type { ResultOp, Spec, ViewOp } from '../op.ts';
import { opSchemaVersion } from '../op.ts';
import { inferAll } from '../ops/table.ts';
import type { Op } from '../ops/table.ts';
import { isView, viewRules } from '../ops/views.ts';
import { Tensor } from '../tensor.ts';
import { checkOp, maxRank } from './check-op.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';
import { sameSpec, specOf } from './passes/rewrite.ts';

/** Limits of a file, far above those of real models. */
const limits = { nodes: 200_000, rank: maxRank, elements: 2 ** 40, textBytes: 256 * 2 ** 20 };

/** A graph as JSON text. */
export function serializeGraph(graph: Graph): string {
  return JSON.stringify(graph);
}

type Record_ = Readonly<Record<string, unknown>>;

/** True for a JSON object. */
export const isRecord = (v: unknown): v is Record_ =>
  typeof v === 'object' && v !== null && !Array.isArray(v);

/** JSON of at most 256 MiB; throws FormatError. */
export function parseJson(text: string, source: string): unknown {
  if (text.length > limits.textBytes)
    throw new FormatError(`${source}: is larger than ${limits.textBytes} bytes`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${source}: is not JSON: ${(error as Error).message}`);
  }
}

/** Parses and checks; throws FormatError naming `source` and the node. */
export function parseGraph(text: string, source: string): Graph {
  return checkGraph(parseJson(text, source), source);
}

/** As parseGraph, of JSON that was parsed already. */
export function checkGraph(json: unknown, source: string): Graph {
  const fail = (message: string): never => {
    throw new FormatError(`${source}: ${message}`);
  };
  if (!isRecord(json)) return fail('is not a graph object');
  if (json['schema'] !== opSchemaVersion)
    fail(`has schema ${String(json['schema'])}, this version reads ${opSchemaVersion}`);
  const list = (key: string): readonly Record_[] => {
    const v = json[key];
    if (!Array.isArray(v) || v.length > limits.nodes || !v.every(isRecord))
      return fail(`'${key}' is not a list of at most ${limits.nodes} objects`);
    return v;
  };
  const sizes = (v: unknown, what: string): readonly number[] => {
    const ok =
      Array.isArray(v) &&
      v.length <= limits.rank &&
      v.every((d) => Number.isSafeInteger(d) && (d as number) >= 0);
    return ok ? (v as number[]) : fail(`${what} is not a list of at most ${limits.rank} sizes`);
  };
  const values = new Map<ValueId, ValueInfo>();
  const define = (v: Record_, what: string): ValueInfo => {
    const { id, dtype } = v;
    if (!Number.isSafeInteger(id) || values.has(id as number)) return fail(`${what} has no unique id`);
    if (!isDType(dtype)) return fail(`${what} has unknown dtype ${String(dtype)}`);
    const shape = sizes(v['shape'], `shape of ${what}`);
    const strides = sizes(v['strides'], `strides of ${what}`);
    if (strides.length !== shape.length || elementCount(shape) > limits.elements)
      fail(`${what} has strides of another rank or is too large`);
    const info = { id: id as number, dtype, shape, strides };
    values.set(info.id, info);
    return info;
  };
  const named = (key: string): NamedValue[] =>
    list(key).map((v, i) => {
      if (typeof v['name'] !== 'string') fail(`${key}[${i}] has no name`);
      const value = { name: v['name'] as string, ...define(v, `${key}[${i}]`) };
      if (key === 'inputs' && !isDense(specOf(value).layout)) fail(`${key}[${i}] is not dense`);
      return value;
    });
  const [inputs, params, constants] = [named('inputs'), named('params'), named('constants')];
  /** Outputs of the ops so far; result nodes read those beyond the first. */
  const outputs = new Map<ValueId, readonly Spec[]>();
  const nodes = list('nodes').map((v, i): GraphNode => {
    const what = `node ${i}`;
    const ids = v['inputs'];
    if (!Array.isArray(ids) || !ids.every((id) => values.has(id as number)))
      return fail(`${what} reads a value that is not defined before it`);
    if (!isRecord(v['op'])) return fail(`${what} has no op`);
    const args = (ids as number[]).map((id) => values.get(id)!);
    const info = define(v, what);
    const op = checkOp(v['op'], ids.length, info.shape.length, `${source}: ${what}`);
    const inferred = inferNode(op, args, outputs, `${source}: ${what}`);
    if (!isView(op) && op.kind !== 'result') outputs.set(info.id, inferred);
    const own = inferred[op.kind === 'result' ? op.index : 0];
    if (!own) return fail(`${what} (result) reads output ${(op as ResultOp).index} of ${inferred.length}`);
    if (!sameSpec(own, specOf(info))) {
      const type = ({ dtype, layout }: Spec): string =>
        `${dtype}${formatShape(layout.shape)} with strides ${formatShape(layout.strides)}`;
      fail(`${what} (${op.kind}) says ${type(specOf(info))} but its inputs give ${type(own)}`);
    }
    return {
      ...info,
      op,
      inputs: ids as number[],
      module: typeof v['module'] === 'string' ? v['module'] : '',
    };
  });
  const ends = list('outputs').map((o, i) => {
    if (typeof o['name'] !== 'string' || !values.has(o['id'] as number)) fail(`outputs[${i}] names no value`);
    return { name: o['name'] as string, id: o['id'] as number };
  });
  return { schema: opSchemaVersion, inputs, params, constants, nodes, outputs: ends };
}

/** All outputs of an op on abstract inputs. @throws FormatError naming the file for any failure. */
function inferNode(
  op: Op,
  args: readonly ValueInfo[],
  outputs: ReadonlyMap<ValueId, readonly Spec[]>,
  where: string,
): readonly Spec[] {
  try {
    if (op.kind === 'result') {
      const all = outputs.get(args[0]!.id);
      if (!all) throw new FormatError('result reads a value that no op with several outputs gave');
      return all;
    }
    if (!isView(op)) return inferAll(op, args.map(specOf));
    const { dtype, layout } = specOf(args[0]!);
    return [viewOf(op, new Tensor(dtype, layout, undefined)).spec];
  } catch (error) {
    const reason =
      error instanceof DarkroomError ? error.message : `malformed attributes (${(error as Error).message})`;
    throw new FormatError(`${where}: ${reason}`);
  }
}

/** The view of `x`. A reshape that needs a copy is an error, since recordings contain that copy. */
function viewOf(op: ViewOp, x: Tensor): Tensor {
  return op.kind === 'reshape' ? x.view(op.shape) : viewRules(op).apply(op, x);
}
