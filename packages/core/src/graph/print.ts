// The text form of a graph, one line a node: `%3: f32[1,4,8,8] = conv2d(%0, p:conv_in.weight) padding=[1,1,1,1]`.

import { dtypes } from '../dtype.ts';
import { formatShape } from '../errors.ts';
import { memoryFormatOf } from '../layout.ts';
import { findDefinition } from '../ops/table.ts';
import type { Graph, GraphNode, ValueInfo } from './graph.ts';

function type(v: ValueInfo): string {
  const format = memoryFormatOf({ shape: v.shape, strides: v.strides, offset: 0 });
  const suffix = format === 'contiguous' ? '' : format === 'channelsLast' ? 'nhwc' : 'strided';
  return `${dtypes[v.dtype].short}${formatShape(v.shape)}${suffix}`;
}

function attributes(node: GraphNode): string {
  const parts: string[] = [];
  const defaults: Readonly<Record<string, unknown>> = { ...findDefinition(node.op.kind)?.defaults };
  for (const [name, value] of Object.entries(node.op)) {
    if (name === 'kind' || value === undefined) continue;
    const text = JSON.stringify(value);
    if (JSON.stringify(defaults[name]) !== text) parts.push(`${name}=${text}`);
  }
  return parts.length === 0 ? '' : ` ${parts.join(' ')}`;
}

/** A graph as text, one line a node; attributes with their default values are left out. */
export function printGraph(graph: Graph): string {
  const names = new Map<number, string>();
  for (const v of graph.params) names.set(v.id, `p:${v.name}`);
  for (const v of graph.constants) names.set(v.id, `c:${v.name}`);
  const nameOf = (id: number): string => names.get(id) ?? `%${id}`;
  const lines = [
    `inputs ${graph.inputs.map((v) => `%${v.id} ${v.name}: ${type(v)}`).join(', ')}`,
    ...graph.nodes.map(
      (n) => `%${n.id}: ${type(n)} = ${n.op.kind}(${n.inputs.map(nameOf).join(', ')})${attributes(n)}`,
    ),
    `outputs ${graph.outputs.map((o) => `${o.name}: ${nameOf(o.id)}`).join(', ')}`,
  ];
  return lines.join('\n');
}
