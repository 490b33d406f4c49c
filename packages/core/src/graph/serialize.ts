// Graphs as JSON text. A file is data from a stranger: everything is checked before a Graph is returned, and every
// node's shape is inferred again and compared, so that what runs later is what was checked.

import { isDType } from '../dtype.ts';
import { DarkroomError, FormatError, formatShape } from '../errors.ts';
import { elementCount, isDense } from '../layout.ts';
import type { KernelOp, Op, Spec } from '../op.ts';
import { opSchemaVersion } from '../op.ts';
import { definitionOf } from '../ops/table.ts';
import { Tensor } from '../tensor.ts';
import { maxRank, validateOp } from './attributes.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';
import { isView, sameSpec, specOf } from './passes/rewrite.ts';

/** Above these a file is refused: no real model comes near. */
const limits = { nodes: 200_000, rank: maxRank, elements: 2 ** 40, textBytes: 256 * 2 ** 20 };

export function serializeGraph(graph: Graph): string {
  return JSON.stringify(graph);
}

type Record_ = Readonly<Record<string, unknown>>;

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
  const nodes = list('nodes').map((v, i): GraphNode => {
    const what = `node ${i}`;
    const ids = v['inputs'];
    if (!Array.isArray(ids) || !ids.every((id) => values.has(id as number)))
      return fail(`${what} reads a value that is not defined before it`);
    if (!isRecord(v['op'])) return fail(`${what} has no op`);
    const args = (ids as number[]).map((id) => values.get(id)!);
    const info = define(v, what);
    const op = validateOp(v['op'], ids.length, info.shape.length, `${source}: ${what}`);
    const inferred = inferNode(op, args, `${source}: ${what}`);
    if (!sameSpec(inferred, specOf(info))) {
      const type = ({ dtype, layout }: Spec): string =>
        `${dtype}${formatShape(layout.shape)} with strides ${formatShape(layout.strides)}`;
      fail(`${what} (${op.kind}) says ${type(specOf(info))} but its inputs give ${type(inferred)}`);
    }
    return {
      ...info,
      op,
      inputs: ids as number[],
      module: typeof v['module'] === 'string' ? v['module'] : '',
    };
  });
  const outputs = list('outputs').map((o, i) => {
    if (typeof o['name'] !== 'string' || !values.has(o['id'] as number)) fail(`outputs[${i}] names no value`);
    return { name: o['name'] as string, id: o['id'] as number };
  });
  return { schema: opSchemaVersion, inputs, params, constants, nodes, outputs };
}

/** What an op gives on abstract inputs; any failure is the file's. */
function inferNode(op: Op, args: readonly ValueInfo[], where: string): Spec {
  try {
    if (isView(op)) {
      if (args.length !== 1) throw new FormatError(`${op.kind} takes one input, not ${args.length}`);
      const { dtype, layout } = specOf(args[0]!);
      return applyView(op, new Tensor(dtype, layout, undefined)).spec;
    }
    return definitionOf(op as KernelOp).infer(op as KernelOp, args.map(specOf));
  } catch (error) {
    const reason =
      error instanceof DarkroomError ? error.message : `malformed attributes (${(error as Error).message})`;
    throw new FormatError(`${where}: ${reason}`);
  }
}

function applyView(op: Op, x: Tensor): Tensor {
  if (op.kind === 'reshape') return x.view(op.shape);
  if (op.kind === 'permute') return x.permute(...op.axes);
  if (op.kind === 'expand') return x.expand(op.shape);
  if (op.kind === 'slice') return x.slice(op.axis, op.start, op.stop, op.step);
  throw new FormatError(`unknown op kind '${op.kind}'`);
}
