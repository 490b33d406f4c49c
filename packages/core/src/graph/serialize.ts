// Graphs as JSON text. A file is data from a stranger: everything is checked before a Graph is returned, and every
// node's shape is inferred again and compared, so that what runs later is what was checked.

import { isDType } from '../dtype.ts';
import { DarkroomError, FormatError, formatShape } from '../errors.ts';
import { validateExpr } from '../expr.ts';
import { elementCount, layoutOf } from '../layout.ts';
import type { KernelOp, Op } from '../op.ts';
import { opSchemaVersion } from '../op.ts';
import { definitionOf } from '../ops/table.ts';
import { Tensor } from '../tensor.ts';
import type { Graph, GraphNode, NamedValue, ValueId, ValueInfo } from './graph.ts';

/** Above these a file is refused: no real model comes near. */
const limits = { nodes: 200_000, rank: 8, elements: 2 ** 40, textBytes: 256 * 2 ** 20 };
const viewKinds = new Set(['reshape', 'permute', 'expand', 'slice']);

export function serializeGraph(graph: Graph): string {
  return JSON.stringify(graph);
}

type Record_ = Readonly<Record<string, unknown>>;

/** Parses and checks; throws FormatError naming `source` and the node. */
export function parseGraph(text: string, source: string): Graph {
  const fail = (message: string): never => {
    throw new FormatError(`${source}: ${message}`);
  };
  if (text.length > limits.textBytes) fail(`is larger than ${limits.textBytes} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(`is not JSON: ${(error as Error).message}`);
  }
  const isRecord = (v: unknown): v is Record_ => typeof v === 'object' && v !== null && !Array.isArray(v);
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
      return { name: v['name'] as string, ...define(v, `${key}[${i}]`) };
    });
  const [inputs, params, constants] = [named('inputs'), named('params'), named('constants')];
  const nodes = list('nodes').map((v, i): GraphNode => {
    const what = `node ${i}`;
    const ids = v['inputs'];
    if (!Array.isArray(ids) || !ids.every((id) => values.has(id as number)))
      return fail(`${what} reads a value that is not defined before it`);
    const { op } = v;
    if (!isRecord(op) || typeof op['kind'] !== 'string') return fail(`${what} has no op`);
    for (const key of ['expr', 'epilogue', 'pre', 'post'])
      if (key in op) validateExpr(op[key], `${source}: ${what}`);
    const args = (ids as number[]).map((id) => values.get(id)!);
    const info = define(v, what);
    const inferred = inferNode(op as unknown as Op, args, `${source}: ${what}`);
    if (formatShape(inferred.shape) !== formatShape(info.shape) || inferred.dtype !== info.dtype) {
      fail(
        `${what} (${op['kind']}) says ${info.dtype}${formatShape(info.shape)} but its inputs give ${inferred.dtype}${formatShape(inferred.shape)}`,
      );
    }
    return {
      ...info,
      op: op as unknown as Op,
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

/** Shape and dtype an op gives on abstract inputs; any failure is the file's. */
function inferNode(
  op: Op,
  args: readonly ValueInfo[],
  where: string,
): { shape: readonly number[]; dtype: string } {
  const specs = args.map((a) => ({
    dtype: a.dtype,
    layout: { shape: a.shape, strides: a.strides, offset: 0 },
  }));
  try {
    if (!viewKinds.has(op.kind)) {
      const definition = definitionOf(op as KernelOp);
      if (!definition) throw new FormatError(`unknown op kind '${op.kind}'`);
      const out = definition.infer(op as KernelOp, specs);
      return { shape: out.layout.shape, dtype: out.dtype };
    }
    const x = new Tensor(specs[0]!.dtype, layoutOf(specs[0]!.layout.shape), undefined);
    const out = applyView(op, x);
    return { shape: out.shape, dtype: out.dtype };
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
