// The least time that the recorded work can take at given rates: each op by the larger of its arithmetic and its traffic.
// Products count with inputs and outputs read and written once, as if all else were fused into them; norms and the rest
// are given for themselves, unfused, to compare groups with. Ops that share a kernel of ours show there as more than 1.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { elementCount } from '@darkroom/core/backend';
import type { PartName } from './modules.ts';

/** By the op of our kernels. */
export const groupNames = [
  'conv2d',
  'matmul',
  'attention',
  'groupNorm',
  'layerNorm',
  'map',
  'copy',
  'other',
] as const;
export type GroupName = (typeof groupNames)[number];

export interface RecordedOp {
  readonly op: string;
  readonly inputs: readonly (readonly number[])[];
  readonly output: readonly number[];
}
/** The ops of a part in order. */
export type OpList = Readonly<Record<PartName, readonly RecordedOp[]>>;

export function readOpList(folder: string): OpList {
  interface Section {
    readonly ops: readonly RecordedOp[];
    readonly order: readonly number[];
  }
  const text = readFileSync(join(folder, 'sd15-ops.json'), 'utf8');
  const { sections } = JSON.parse(text) as { sections: Record<PartName, Section> };
  const inOrder = ({ ops, order }: Section): RecordedOp[] => order.map((i) => ops[i]!);
  return { unet: inOrder(sections.unet), vae: inOrder(sections.vae), text: inOrder(sections.text) };
}

export interface Rates {
  /** FLOP/s of the largest matrix product. */
  readonly matmul: number;
  /** Bytes/s of a copy, reading and writing. */
  readonly copy: number;
}

const groupOfRecorded: Readonly<Record<string, GroupName>> = {
  conv2d: 'conv2d',
  linear: 'matmul',
  scaled_dot_product_attention: 'attention',
  group_norm: 'groupNorm',
  layer_norm: 'layerNorm',
  cat: 'copy',
  interpolate: 'other',
  embedding: 'other',
  arange: 'other',
  argmax: 'other',
};

/** Kernels are labelled `op/variant`. */
export function groupOfLabel(label: string): GroupName {
  const kind = label.split('/')[0]!;
  return (groupNames as readonly string[]).includes(kind) ? (kind as GroupName) : 'other';
}

/** FLOPs of a product; others are bound by traffic everywhere. */
export function productFlops({ op, inputs, output }: RecordedOp): number {
  const out = elementCount(output);
  if (op === 'conv2d') return 2 * out * elementCount(inputs[1]!.slice(1));
  if (op === 'linear') return 2 * out * inputs[1]![1]!;
  if (op === 'scaled_dot_product_attention') return 4 * out * inputs[1]![2]!;
  return 0;
}

function trafficElements({ op, inputs, output }: RecordedOp): number {
  const out = elementCount(output);
  // Of an embedding's table only the rows that are asked for.
  const read = op === 'embedding' ? out : inputs.reduce((sum, shape) => sum + elementCount(shape), 0);
  return read + out;
}

/** Milliseconds by group. */
export function floorOf(
  ops: readonly RecordedOp[],
  bytesPerElement: number,
  rates: Rates,
): Record<GroupName, number> {
  const ms = Object.fromEntries(groupNames.map((name) => [name, 0])) as Record<GroupName, number>;
  for (const op of ops) {
    const arithmetic = productFlops(op) / rates.matmul;
    const traffic = (trafficElements(op) * bytesPerElement) / rates.copy;
    ms[groupOfRecorded[op.op] ?? 'map'] += 1000 * Math.max(arithmetic, traffic);
  }
  return ms;
}

/** With everything but the products fused into them. */
export const fusedFloor = (ms: Readonly<Record<GroupName, number>>): number =>
  ms.conv2d + ms.matmul + ms.attention;
